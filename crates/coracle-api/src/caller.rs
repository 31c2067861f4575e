//! Who is asking.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use coracle_control::journal::Actor;
use coracle_model::name::{ProjectName, UserName};
use coracle_model::token::{Token, TokenPurpose};
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
    reach: Reach,
}

/// How much of what their user may the credentials open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// All of it: a login, or a token that is not narrowed.
    Whole,
    /// A part: a token of a lower role, or for some of the projects.
    Part,
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
        let whole = token.spec.purpose == TokenPurpose::Session
            || (role == user.spec.role && narrower(&scopes) == scopes[0]);
        let reach = if whole { Reach::Whole } else { Reach::Part };
        Self {
            reach,
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
        narrower(&self.scopes)
    }

    /// May they make and delete tokens of their user? Not with a token that was made to do less than its owner: it
    /// would get rid of its limits, or of those that keep others out.
    pub(crate) fn manages_tokens(&self) -> bool {
        self.reach == Reach::Whole
    }

    /// Do these credentials, looked at again, open all that they opened before?
    pub(crate) fn opens_all_of(&self, before: &Self) -> bool {
        self.role >= before.role && self.scope() == before.scope()
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor::User(self.user.to_string())
    }
}

fn narrower(scopes: &[ProjectScope; 2]) -> ProjectScope {
    match scopes {
        [ProjectScope::All, other] | [other, ProjectScope::All] => other.clone(),
        [ProjectScope::Only(a), ProjectScope::Only(b)] => ProjectScope::Only(a & b),
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
