//! What all control planes of one store have in common.
//!
//! Theory of operation: the first that starts writes a record with the platform's id, which is on everything that
//! an engine makes, and with a credential for the registry, sealed with its key. Every other start opens what was
//! sealed: whoever has another key cannot, and is told so before it writes secrets that the others cannot read.

use coracle_model::env::Secret;
use serde::{Deserialize, Serialize};

use crate::error::OperationError;
use crate::keys;
use crate::objects::{Batch, Objects, new_uid};
use crate::vault::Vault;

/// Binds the sealed credential to its place.
const PLACE: &str = "platform/credential";

#[derive(Serialize, Deserialize)]
struct Record {
    id: String,
    credential: String,
}

/// What all control planes of one store have in common.
#[derive(Clone, Debug)]
pub struct Platform {
    /// The platform's id.
    pub id: String,
    /// With what its own parts log in to its registry.
    pub credential: Secret,
}

/// Why this process is no part of the platform.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// It has another key than the one that the store's secrets were sealed with.
    #[error(
        "the secret key of this control plane is not the one that the secrets in its store were sealed with"
    )]
    WrongKey,
    /// The store failed.
    #[error("what the control planes have in common cannot be read")]
    Store(#[source] OperationError),
}

impl Platform {
    /// Reads what the control planes have in common, and makes it at the very first start: with `id`, where the
    /// platform had one before there was a record.
    ///
    /// # Errors
    /// [`PlatformError::WrongKey`] with another key than at the first start.
    pub async fn join(
        objects: &Objects,
        vault: &Vault,
        id: Option<String>,
    ) -> Result<Self, PlatformError> {
        let mut id = Some(id.unwrap_or_else(new_uid));
        loop {
            let found = objects.get_record::<Record>(keys::PLATFORM).await;
            match (found.map_err(PlatformError::Store)?, id.take()) {
                (Some(record), _) => {
                    let credential = vault
                        .open_sealed(PLACE, &record.credential)
                        .map_err(|_other_key| PlatformError::WrongKey)?;
                    return Ok(Self {
                        id: record.id,
                        credential,
                    });
                }
                (None, Some(id)) => {
                    let secret = Secret::new(new_uid() + &new_uid());
                    let credential = vault.seal(PLACE, &secret).map_err(PlatformError::Store)?;
                    let batch = Batch::new()
                        .create(keys::PLATFORM.to_owned(), &Record { id, credential })
                        .map_err(PlatformError::Store)?;
                    match objects.write(batch).await {
                        Ok(_) => {}
                        // Another came first: then what it wrote is read.
                        Err(error) if error.is_race() => {}
                        Err(error) => return Err(PlatformError::Store(error)),
                    }
                }
                (None, None) => {
                    return Err(PlatformError::Store(OperationError::conflict(
                        "the record vanished while it was read",
                    )));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use coracle_store::{Embedded, EmbeddedConfig};

    use super::*;

    #[tokio::test]
    async fn all_have_one_id_and_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(dir.path(), EmbeddedConfig::default()).unwrap();
        let objects = Objects::new(Arc::new(store));
        let vault = |name: &str| Vault::open(&dir.path().join(name)).unwrap();
        let key = vault("a.key");
        let (one, two) = tokio::join!(
            Platform::join(&objects, &key, None),
            Platform::join(&objects, &key, None)
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one.id, two.id);
        assert_eq!(one.credential.expose(), two.credential.expose());
        let other = Platform::join(&objects, &vault("b.key"), Some("x".into())).await;
        assert!(matches!(other, Err(PlatformError::WrongKey)), "{other:?}");
        let again = Platform::join(&objects, &vault("a.key"), Some("x".into())).await;
        assert_eq!(again.unwrap().id, one.id, "the first one counts");
    }
}
