//! Who may do what in the registry: the first part of a repository's name is the project.

use async_trait::async_trait;
use coracle_model::user::Role;
use coracle_registry::{Action, Authorizer, Credentials, Denied, RepositoryName};

use crate::credentials::{Authentication, PlatformCredential};

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
        if self.platform.is_pull(credentials.token()) {
            return match action {
                Action::Pull => Ok(()),
                Action::Push | Action::Delete | Action::List => Err(Denied::Forbidden),
            };
        }
        let caller = self
            .authentication
            .caller(credentials.token())
            .await
            .inspect_err(|error| tracing::error!(%error, "credentials could not be checked"))
            .map_err(|_logged| Denied::Unauthenticated)?
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
