//! What a follower gets to see: what it asked for, of what its caller may see.

use coracle_model::name::{ProjectName, UserName, shown};
use coracle_model::object::Kind;
use coracle_model::problem::{Code, Problem};
use coracle_model::user::{ProjectScope, Role};

use super::kinds;
use crate::caller::Caller;
use crate::error::ApiResult;
use crate::tenure::Tenure;

/// Who may see an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Those who see this project.
    Project(ProjectName),
    /// Those who have this role, or a higher one, everywhere.
    Platform(Role),
    /// This user.
    User(UserName),
}

/// What a follower gets to see.
pub(super) struct Filter {
    tenure: Tenure,
    project: Option<ProjectName>,
    kinds: Option<Vec<Kind>>,
}

impl Filter {
    pub(super) fn new(
        tenure: Tenure,
        project: Option<ProjectName>,
        kinds: Option<Vec<Kind>>,
    ) -> Self {
        Self {
            tenure,
            project,
            kinds,
        }
    }

    pub(super) fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    pub(super) fn caller(&self) -> &Caller {
        self.tenure.caller()
    }

    pub(super) fn wants(&self, kind: Kind, audience: &Audience) -> bool {
        let caller = self.caller();
        let in_scope = match audience {
            Audience::Project(project) => {
                caller.sees(project) && self.project.as_ref().is_none_or(|only| only == project)
            }
            Audience::Platform(role) => {
                self.project.is_none()
                    && caller.scope() == ProjectScope::All
                    && caller.role >= *role
            }
            Audience::User(user) => self.project.is_none() && caller.user == *user,
        };
        in_scope && self.wants_kind(kind)
    }

    pub(super) fn wants_kind(&self, kind: Kind) -> bool {
        self.kinds
            .as_ref()
            .is_none_or(|kinds| kinds.contains(&kind))
    }

    /// For what is only of this project.
    pub(super) fn wants_of(&self, kind: Kind, project: &ProjectName) -> bool {
        self.wants(kind, &Audience::Project(project.clone()))
    }
}

/// The kinds that a query names.
pub(super) fn parse_kinds(text: &str) -> ApiResult<Vec<Kind>> {
    let parse = |word: &str| {
        let word = word.trim();
        kinds::all()
            .find(|kind| format!("{kind:?}").eq_ignore_ascii_case(word))
            .ok_or_else(|| {
                let all: Vec<_> = kinds::all().map(|kind| format!("{kind:?}")).collect();
                Problem::new(
                    Code::InvalidField,
                    format!(
                        "there is no kind {}; there are {}",
                        shown(word),
                        all.join(", ")
                    ),
                )
                .field("kinds")
                .into()
            })
    };
    text.split(',').map(parse).collect()
}
