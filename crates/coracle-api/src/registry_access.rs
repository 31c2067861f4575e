//! Who may do what in the registry: the first part of a repository's name is the project.
//!
//! Theory of operation: four sorts of credentials are taken. The platform's own opens everything; a project's own, which
//! its nodes and builds have, opens this project's repositories and lists nothing; a build's pass lets that build push its
//! image while it goes on; a user's token what the user may see.

use async_trait::async_trait;
use coracle_control::OperationError;
use coracle_control::build_pass::BuildGrant;
use coracle_control::registry_access::{RegistryGrant, RegistryRight};
use coracle_model::user::Role;
use coracle_registry::{Action, Authorizer, Credentials, Denied, RepositoryName};

use crate::credentials::{Authentication, PlatformCredential};

/// Lets the platform's users and tokens, and its own parts, into the registry.
#[derive(Clone, Debug)]
pub struct RegistryAccess {
    authentication: Authentication,
    platform: PlatformCredential,
    base_images: Option<String>,
}

impl RegistryAccess {
    /// With the users of `authentication`, and the credential of the platform's own parts.
    #[must_use]
    pub fn new(authentication: Authentication, platform: PlatformCredential) -> Self {
        Self {
            authentication,
            platform,
            base_images: None,
        }
    }
}

impl RegistryAccess {
    /// The same, letting builds read what is below `path` too, such as `base`: images that stand in for public ones.
    #[must_use]
    pub fn with_base_images(mut self, path: Option<String>) -> Self {
        self.base_images = path;
        self
    }

    /// May a build that goes on do this? It pushes its own image, and reads what images of its project begin with.
    fn built(
        &self,
        build: &BuildGrant,
        repository: Option<&RepositoryName>,
        action: Action,
    ) -> Result<(), Denied> {
        let below = |name: &str, path: &str| {
            let rest = name.strip_prefix(path);
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        let allowed = match (repository.map(RepositoryName::as_str), action) {
            // To log in.
            (None, Action::Pull) => true,
            (Some(name), Action::Push) => name == format!("{}/{}", build.project, build.app),
            (Some(name), Action::Pull) => {
                let base = self.base_images.as_deref();
                below(name, build.project.as_str()) || base.is_some_and(|base| below(name, base))
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
        action: Action,
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
        if let Some(grant) = grant.await.map_err(uncheckable)? {
            return granted(&grant, repository, action);
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
            Action::Push | Action::Delete => Role::Developer,
        };
        if caller.sees_repository(repository) && caller.role >= needed {
            Ok(())
        } else {
            Err(Denied::Forbidden)
        }
    }
}

fn uncheckable(error: OperationError) -> Denied {
    tracing::error!(%error, "credentials could not be checked");
    Denied::Unauthenticated
}

/// May somebody with a project's own secret do this?
fn granted(
    grant: &RegistryGrant,
    repository: Option<&RepositoryName>,
    action: Action,
) -> Result<(), Denied> {
    let inside = match repository {
        // To log in.
        None => true,
        Some(repository) => repository
            .as_str()
            .split_once('/')
            .is_some_and(|(first, _)| first == grant.project.as_str()),
    };
    match (action, grant.right) {
        (Action::Pull, RegistryRight::Pull | RegistryRight::Build)
        | (Action::Push, RegistryRight::Build)
            if inside =>
        {
            Ok(())
        }
        _ => Err(Denied::Forbidden),
    }
}
