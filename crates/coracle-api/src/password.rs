//! Passwords: argon2id with the parameters that RFC 9106 and OWASP recommend where memory is scarce
//! (19 MiB, two passes). Hashing runs on a blocking thread, and few at a time, so that logins cannot take the
//! machine's memory.

use std::sync::LazyLock;

use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use coracle_model::env::Secret;
use tokio::sync::Semaphore;

/// Hashes at the same time.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// The shortest and the longest password, in bytes.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=1024;

/// A hash of no user's password: only its cost counts. Made once, since making it for each unknown name would take
/// twice the time that a known one takes, and so tell which names exist.
static NOBODY: LazyLock<String> = LazyLock::new(|| {
    Argon2::default()
        .hash_password(b"nobody")
        .map(|hash| hash.to_string())
        .unwrap_or_default()
});

/// Why a password was refused or could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too short or too long.
    #[error("a password has 8 to 1024 bytes")]
    Length,
    /// The hash could not be computed.
    #[error("the password could not be hashed")]
    Hash,
}

/// The hash of a password, in PHC form, under a random salt.
///
/// # Errors
/// [`PasswordError::Length`] for one that is too short or too long.
pub async fn hash_password(password: Secret) -> Result<String, PasswordError> {
    if !LENGTH.contains(&password.expose().len()) {
        return Err(PasswordError::Length);
    }
    let _permit = AT_ONCE
        .acquire()
        .await
        .map_err(|_closed| PasswordError::Hash)?;
    tokio::task::spawn_blocking(move || {
        Argon2::default()
            .hash_password(password.expose().as_bytes())
            .map(|hash| hash.to_string())
            .map_err(|_opaque| PasswordError::Hash)
    })
    .await
    .map_err(|_panic| PasswordError::Hash)?
}

/// Is it the password of this hash? Without a hash (no such user) it takes as long and is not.
pub(crate) async fn verify_password(password: Secret, hash: Option<String>) -> bool {
    let Ok(_permit) = AT_ONCE.acquire().await else {
        return false;
    };
    let checked = tokio::task::spawn_blocking(move || {
        let known = hash.is_some();
        let hash = match hash {
            Some(hash) => hash,
            None => NOBODY.clone(),
        };
        Argon2::default()
            .verify_password(password.expose().as_bytes(), hash.as_str())
            .is_ok()
            && known
    });
    checked.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_knows_its_password_only() {
        let hash = hash_password(Secret::new("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert!(!hash.contains("correct"));
        assert!(verify_password(Secret::new("correct horse"), Some(hash.clone())).await);
        assert!(!verify_password(Secret::new("battery staple"), Some(hash)).await);
        assert!(!verify_password(Secret::new("nobody"), None).await);
        assert!(matches!(
            hash_password(Secret::new("short")).await,
            Err(PasswordError::Length)
        ));
    }
}
