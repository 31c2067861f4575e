//! Who is asking.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use coracle_control::journal::Actor;
use coracle_model::name::{ProjectName, UserName};
use coracle_model::token::Token;
use coracle_model::user::{ProjectScope, Role, User};
use coracle_registry::RepositoryName;

use crate::error::ApiError;

/// Who is asking, and what they may do: the less of what the user and the token allow.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) user: UserName,
    pub(crate) role: Role,
    pub(crate) token: Token,
    scopes: [ProjectScope; 2],
}

impl Caller {
    pub(crate) fn new(name: UserName, user: &User, token: Token) -> Self {
        let role = user.spec.role.min(token.spec.role);
        // An administrator's own scope is everything; the token may still narrow it.
        let of_user = if user.spec.role == Role::Admin {
            ProjectScope::All
        } else {
            user.spec.projects.clone()
        };
        let scopes = [of_user, token.spec.projects.clone()];
        Self {
            user: name,
            role,
            token,
            scopes,
        }
    }

    /// May they see this project?
    pub(crate) fn sees(&self, project: &ProjectName) -> bool {
        self.scopes.iter().all(|scope| scope.contains(project))
    }

    /// May they see this repository of the registry? The first part of its name is its project; one outside
    /// every project is the whole platform's.
    pub(crate) fn sees_repository(&self, repository: &RepositoryName) -> bool {
        let project = repository.as_str().split_once('/');
        match project.and_then(|(first, _)| ProjectName::new(first).ok()) {
            Some(project) => self.sees(&project),
            None => self.scope() == ProjectScope::All,
        }
    }

    /// The projects that they see.
    pub(crate) fn scope(&self) -> ProjectScope {
        match &self.scopes {
            [ProjectScope::All, other] | [other, ProjectScope::All] => other.clone(),
            [ProjectScope::Only(a), ProjectScope::Only(b)] => ProjectScope::Only(a & b),
        }
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor::User(self.user.to_string())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(ApiError::unauthenticated)
    }
}
