//! Who may do what in the registry: the first part of a repository's name is the project.
//!
//! Theory of operation: four sorts of credentials are taken. The platform's own opens everything; a project's own, which
//! its nodes have, pulls this project's images and lists nothing; a build's pass lets that build push its image, under its
//! own tag, while it goes on; a user's token what the user may see. Images that stand in for public ones decide what
//! everybody's builds begin with: only administrators write them.

use async_trait::async_trait;
use coracle_control::OperationError;
use coracle_control::build_pass::BuildGrant;
use coracle_control::settings::Settings;
use coracle_model::name::ProjectName;
use coracle_model::user::Role;
use coracle_registry::{
    Action, Authorizer, Credentials, Denied, Digest, Reference, RepositoryName, Tag,
};

use crate::credentials::{Authentication, PlatformCredential};
use crate::image::{Insisting, Uses, in_the_way};

/// Lets the platform's users and tokens, and its own parts, into the registry.
#[derive(Clone, Debug)]
pub struct RegistryAccess {
    authentication: Authentication,
    platform: PlatformCredential,
}

impl RegistryAccess {
    /// With the users of `authentication`, and the credential of the platform's own parts.
    #[must_use]
    pub fn new(authentication: Authentication, platform: PlatformCredential) -> Self {
        Self {
            authentication,
            platform,
        }
    }

    fn settings(&self) -> &Settings {
        &self.authentication.control().settings
    }

    /// May a build that goes on do this? It pushes its own image, and reads what images of its project begin with.
    fn built(
        &self,
        build: &BuildGrant,
        repository: Option<&RepositoryName>,
        action: Action<'_>,
    ) -> Result<(), Denied> {
        let own = |name: &str| name == format!("{}/{}", build.project, build.app);
        let allowed = match (repository.map(RepositoryName::as_str), action) {
            // To log in.
            (None, Action::Pull) => true,
            (Some(name), Action::Push) => own(name),
            // Who writes by digest changes what nobody named before.
            (Some(name), Action::PutManifest(reference)) => {
                let digest = matches!(reference.parse(), Ok(Reference::Digest(_)));
                own(name) && (digest || reference == build.tag)
            }
            (Some(name), Action::Pull) => {
                below(name, build.project.as_str()) || self.settings().is_base_image(name)
            }
            _ => false,
        };
        if allowed {
            Ok(())
        } else {
            Err(Denied::Forbidden)
        }
    }
}

#[async_trait]
impl Authorizer for RegistryAccess {
    async fn authorize(
        &self,
        credentials: Option<Credentials>,
        repository: Option<&RepositoryName>,
        action: Action<'_>,
    ) -> Result<(), Denied> {
        let credentials = credentials.ok_or(Denied::Unauthenticated)?;
        if self.platform.is(credentials.token()) {
            return Ok(());
        }
        let build = self.authentication.build_grant(credentials.token());
        if let Some(build) = build.await.map_err(uncheckable)? {
            return self.built(&build, repository, action);
        }
        let grant = self.authentication.registry_grant(credentials.token());
        if let Some(project) = grant.await.map_err(uncheckable)? {
            return granted(&project, repository, action);
        }
        let caller = self
            .authentication
            .caller(credentials.token())
            .await
            .map_err(uncheckable)?
            .ok_or(Denied::Unauthenticated)?;
        let Some(repository) = repository else {
            return Ok(());
        };
        let needed = match action {
            Action::Pull | Action::List => Role::Viewer,
            Action::Push | Action::PutManifest(_) | Action::Delete => {
                needed_to_write(self.settings(), repository)
            }
        };
        if caller.sees_repository(repository) && caller.role >= needed {
            Ok(())
        } else {
            Err(Denied::Forbidden)
        }
    }

    async fn in_use(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tags: &[Tag],
    ) -> Result<Option<String>, Denied> {
        let uses = Uses::of(self.authentication.control(), repository).await;
        let uses = uses.map_err(uncheckable)?;
        Ok(in_the_way(&uses.about(digest, tags), Insisting::No))
    }
}

/// A build that pushes while the store is away for a moment must not be told that its pass is worth nothing.
fn uncheckable(error: OperationError) -> Denied {
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    tracing::error!(%error, cause, "credentials could not be checked");
    Denied::Unavailable
}

/// Who may write a repository, by whatever door: what stands in for public images is the administrators'.
pub(crate) fn needed_to_write(settings: &Settings, repository: &RepositoryName) -> Role {
    if settings.is_base_image(repository.as_str()) {
        Role::Admin
    } else {
        Role::Developer
    }
}

/// Is a repository below a path, which may be a project?
pub(crate) fn below(repository: &str, path: &str) -> bool {
    let rest = repository.strip_prefix(path);
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// May somebody with a project's own secret do this?
fn granted(
    project: &ProjectName,
    repository: Option<&RepositoryName>,
    action: Action<'_>,
) -> Result<(), Denied> {
    // Without a repository: to log in.
    let inside = repository.is_none_or(|name| below(name.as_str(), project.as_str()));
    if inside && action == Action::Pull {
        Ok(())
    } else {
        Err(Denied::Forbidden)
    }
}
