//! Who may do what: the port through which the platform's users and tokens decide.
//!
//! Theory of operation: the registry parses credentials and asks; it never judges them. It asks before it
//! looks at any storage, so that the answer to somebody without access is the same whether or not the repository exists.

use std::fmt;

use async_trait::async_trait;

use crate::digest::Digest;
use crate::repository::{RepositoryName, Tag};

/// What a request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action<'a> {
    /// Read manifests and blobs. Without a repository: speak to the registry at all (`GET /v2/`, `docker login`).
    Pull,
    /// Upload blobs.
    Push,
    /// Write a manifest under this reference, as the client wrote it: a digest, or else a tag that then means it.
    PutManifest(&'a str),
    /// Delete manifests and tags.
    Delete,
    /// List a repository's tags. Without a repository: list repositories; each is then asked about by itself.
    List,
}

/// What the client presented: HTTP Basic (any user name, the platform's token as password) or a Bearer token.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: Option<String>,
    token: String,
}

impl Credentials {
    /// From HTTP Basic.
    #[must_use]
    pub fn basic(user: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            user: Some(user.into()),
            token: token.into(),
        }
    }

    /// From `Authorization: Bearer`.
    #[must_use]
    pub fn bearer(token: impl Into<String>) -> Self {
        Self {
            user: None,
            token: token.into(),
        }
    }

    /// The user name of HTTP Basic; unverified.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The secret. Never log it.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Why a request may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No credentials, or ones that are not valid: 401 with a challenge.
    #[error("authentication is required")]
    Unauthenticated,
    /// Known, but not allowed: 403.
    #[error("access is not allowed")]
    Forbidden,
    /// It cannot be looked up at the moment: 503, so that whoever pushes or pulls tries again. As a refusal it would end
    /// them for good.
    #[error("credentials cannot be checked at the moment; try again")]
    Unavailable,
}

/// Decides. Implementations must not take longer for a repository that exists than for one that does not.
#[async_trait]
pub trait Authorizer: Send + Sync {
    /// May the bearer of `credentials` do `action` on `repository`, or on the registry as a whole when there is none?
    ///
    /// # Errors
    /// [`Denied`] with the reason.
    async fn authorize(
        &self,
        credentials: Option<Credentials>,
        repository: Option<&RepositoryName>,
        action: Action<'_>,
    ) -> Result<(), Denied>;

    /// Who relies on an image that somebody wants to delete, by its digest or by one of its tags, in words, if anybody does.
    ///
    /// # Errors
    /// [`Denied::Unavailable`] when that cannot be found out now.
    async fn in_use(
        &self,
        _repository: &RepositoryName,
        _digest: &Digest,
        _tags: &[Tag],
    ) -> Result<Option<String>, Denied> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_not_in_debug_output() {
        let shown = format!("{:?}", Credentials::basic("ann", "s3cret"));
        assert!(
            shown.contains("ann") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
