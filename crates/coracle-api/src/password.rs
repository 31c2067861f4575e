//! Passwords: argon2id with the parameters that RFC 9106 and OWASP recommend where memory is scarce
//! (19 MiB, two passes). Hashing runs on a blocking thread, and few at a time, so that logins cannot take the
//! machine's memory.

use std::sync::LazyLock;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use coracle_model::env::Secret;
use coracle_task::blocking_with;
use tokio::sync::Semaphore;

/// Hashes at the same time.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// The shortest and the longest password, in bytes.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=1024;

/// A hash of no user's password: only its cost counts. Made once, since making it for each unknown name would take
/// twice the time that a known one takes, and so tell which names exist.
static NOBODY: LazyLock<Option<PasswordHash>> =
    LazyLock::new(|| Argon2::default().hash_password(b"nobody").ok());

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
    let derive = move || Argon2::default().hash_password(password.expose().as_bytes());
    match in_turn(derive).await {
        Some(Ok(hash)) => Ok(hash.to_string()),
        Some(Err(_)) | None => Err(PasswordError::Hash),
    }
}

/// The answer of what takes the memory of a hash, on a blocking thread, [`AT_ONCE`] at most; nothing when it panicked.
/// Its turn goes along with the work: who hangs up does not end the one, and so does not free the other.
async fn in_turn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let turn = AT_ONCE.acquire().await.ok()?;
    blocking_with(turn, work).await.ok()
}

/// Is it the password of this hash? Without a hash (no such user), and with one that no password has (a user who was imported
/// and got none yet), it takes as long and is not.
pub(crate) async fn verify_password(password: Secret, hash: Option<String>) -> bool {
    let derive = |password: &[u8], hash: &PasswordHash| {
        Argon2::default().verify_password(password, hash).is_ok()
    };
    let check = move || is_password(&password, hash.as_deref(), derive);
    in_turn(check).await.unwrap_or(false)
}

/// Asks `derive`, which is what takes time, once, whatever the hash is.
fn is_password(
    password: &Secret,
    hash: Option<&str>,
    derive: impl FnOnce(&[u8], &PasswordHash) -> bool,
) -> bool {
    // Made whoever is asked for, so that the first time for nobody takes no longer.
    let Some(nobody) = NOBODY.as_ref() else {
        return false;
    };
    let known = hash
        .and_then(|hash| PasswordHash::new(hash).ok())
        .filter(|hash| hash.algorithm == nobody.algorithm)
        .filter(|hash| hash.salt.is_some() && hash.hash.is_some());
    let right = derive(
        password.expose().as_bytes(),
        known.as_ref().unwrap_or(nobody),
    );
    right && known.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_hangs_up_keeps_the_turn_until_the_work_is_done() {
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let before = AT_ONCE.available_permits();
        {
            let work = std::pin::pin!(in_turn(move || {
                begun.send(()).unwrap();
                ends.recv().unwrap();
            }));
            tokio::select! {
                _ = work => unreachable!("it was not told to end"),
                begun = has_begun => begun.unwrap(),
            }
        }
        assert!(AT_ONCE.available_permits() < before);
        end.send(()).unwrap();
        let _free = AT_ONCE.acquire_many(2).await.unwrap();
    }

    #[tokio::test]
    async fn every_login_derives_once_and_as_much() {
        let own = hash_password(Secret::new("correct horse")).await.unwrap();
        let without_hash = own.rsplit_once('$').unwrap().0.to_owned();
        let without_salt = without_hash.rsplit_once('$').unwrap().0.to_owned();
        let other = own.replace("argon2id", "scrypt");
        for (hash, password, is_it) in [
            (Some(own.as_str()), "correct horse", true),
            (Some(own.as_str()), "battery staple", false),
            (None, "nobody", false),
            // A user who was imported.
            (Some("none"), "none", false),
            (Some("none"), "nobody", false),
            (Some(""), "", false),
            (Some(without_hash.as_str()), "correct horse", false),
            (Some(without_salt.as_str()), "correct horse", false),
            (Some(other.as_str()), "correct horse", false),
        ] {
            let mut derived = Vec::new();
            let known = is_password(&Secret::new(password), hash, |password, hash| {
                derived.push(hash.params.to_string());
                Argon2::default().verify_password(password, hash).is_ok()
            });
            assert_eq!(known, is_it, "{hash:?}");
            let cost = PasswordHash::new(&own).unwrap().params.to_string();
            assert_eq!(derived, [cost], "{hash:?}");
        }
    }

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
