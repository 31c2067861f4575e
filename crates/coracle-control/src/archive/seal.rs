//! The seal of an export: two keys made of a passphrase.
//!
//! Theory of operation: argon2id makes guessing dear, and gives 64 bytes. The first half is the key of the secrets, each bound
//! to its place as the platform's own are ([`Vault`]). The second half authenticates everything else: an HMAC-SHA-256 over the
//! index, which has the digest of every other file. So nobody who does not know the passphrase can change anything in
//! an export. The parameters come with it and so from outside: they are bounded before they are used, and one key is made at
//! a time, so that the memory for it is taken once.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_model::env::Secret;
use coracle_task::blocking_with;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::archive::{INDEX_FILE, SealParameters};
use crate::error::OperationError;
use crate::vault::Vault;

/// The shortest and the longest passphrase, in bytes.
pub const PASSPHRASE: std::ops::RangeInclusive<usize> = 8..=1024;

/// What is asked of this machine to make a key: 64 MiB, three passes (RFC 9106's choice where memory is scarce).
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// The most that an export may ask of it.
const MOST_MEMORY_KIB: u32 = 128 * 1024;
const MOST_PASSES: u32 = 10;
const MOST_LANES: u32 = 4;

/// Keys that are made at the same time.
static AT_ONCE: Semaphore = Semaphore::const_new(1);

const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;

/// Where the known text is sealed for, and what it is.
const CHECK: &str = "coracle export";

/// What is authenticated begins with this, so that nothing else that the key may authenticate one day can be taken for it.
const INDEX_OF_V1: &[u8] = b"coracle-export v1 manifest\0";

type IndexMac = Hmac<Sha256>;

/// What a passphrase opens and vouches for.
#[derive(Clone)]
pub struct Seal {
    /// Seals and opens secrets.
    pub secrets: Vault,
    index: IndexMac,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(…)")
    }
}

impl Seal {
    /// A new seal, and the parameters by which [`Seal::open`] finds its keys again.
    ///
    /// # Errors
    /// [`OperationError::Invalid`] for a passphrase that is too short.
    pub async fn create(passphrase: &Secret) -> Result<(Self, SealParameters), OperationError> {
        let mut salt = [0_u8; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_no_entropy| OperationError::Unseal)?;
        let mut parameters = SealParameters {
            salt: STANDARD.encode(salt),
            memory: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            check: String::new(),
        };
        let seal = Self::derive(passphrase, &parameters).await?;
        parameters.check = seal.secrets.seal(CHECK, &Secret::new(CHECK))?;
        Ok((seal, parameters))
    }

    /// The seal of an export.
    ///
    /// # Errors
    /// [`OperationError::Invalid`] when it is not the passphrase that the export was made with. Nobody can tell that from
    /// a seal that was changed.
    pub async fn open(
        passphrase: &Secret,
        parameters: &SealParameters,
    ) -> Result<Self, OperationError> {
        let seal = Self::derive(passphrase, parameters).await?;
        match seal.secrets.open_sealed(CHECK, &parameters.check) {
            Ok(text) if text.expose() == CHECK => Ok(seal),
            _ => Err(OperationError::invalid(
                "passphrase",
                "it is not the passphrase that this export was made with, or somebody changed the seal in its first record",
            )),
        }
    }

    /// What vouches for `index`, byte for byte, in hexadecimal.
    #[must_use]
    pub fn sign(&self, index: &[u8]) -> String {
        hex::encode(self.over(index).finalize().into_bytes())
    }

    /// Was `index` signed with this passphrase?
    ///
    /// # Errors
    /// [`OperationError::InvalidSource`].
    pub fn verify(&self, index: &[u8], signature: &[u8]) -> Result<(), OperationError> {
        let changed = || OperationError::InvalidSource {
            reason: format!(
                "the passphrase is right, and the export was changed after it was made: its {INDEX_FILE} is not the one that was sealed"
            ),
        };
        let signature = hex::decode(signature).map_err(|_no_digits| changed())?;
        self.over(index)
            .verify_slice(&signature)
            .map_err(|_another| changed())
    }

    fn over(&self, index: &[u8]) -> IndexMac {
        self.index
            .clone()
            .chain_update(INDEX_OF_V1)
            .chain_update(index)
    }

    async fn derive(
        passphrase: &Secret,
        parameters: &SealParameters,
    ) -> Result<Self, OperationError> {
        if !PASSPHRASE.contains(&passphrase.expose().len()) {
            let rule = "a passphrase has 8 to 1024 bytes";
            return Err(OperationError::invalid("passphrase", rule));
        }
        let refused = || OperationError::InvalidSource {
            reason: "the export's seal has parameters that are not taken".to_owned(),
        };
        if parameters.memory > MOST_MEMORY_KIB
            || parameters.passes > MOST_PASSES
            || parameters.lanes > MOST_LANES
        {
            return Err(refused());
        }
        let salt = STANDARD
            .decode(&parameters.salt)
            .map_err(|_not_base64| refused())?;
        let known = Params::new(
            parameters.memory,
            parameters.passes,
            parameters.lanes,
            Some(2 * KEY_BYTES),
        )
        .map_err(|_out_of_range| refused())?;
        let passphrase = passphrase.clone();
        // It goes along: who leaves meanwhile does not end the work, and so does not end its turn.
        let turn = AT_ONCE
            .acquire()
            .await
            .map_err(|_closed| OperationError::Unseal)?;
        let derive = move || {
            let mut keys = Zeroizing::new([[0_u8; KEY_BYTES]; 2]);
            Argon2::new(Algorithm::Argon2id, Version::V0x13, known)
                .hash_password_into(
                    passphrase.expose().as_bytes(),
                    &salt,
                    keys.as_flattened_mut(),
                )
                .map(|()| keys)
        };
        let keys = blocking_with(turn, derive)
            .await
            .map_err(|_panic| OperationError::Unseal)?
            .map_err(|_salt| refused())?;
        let [secrets, index] = &*keys;
        Ok(Self {
            secrets: Vault::of_key(secrets),
            index: IndexMac::new_from_slice(index)
                .map_err(|_takes_any_length| OperationError::Unseal)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSPHRASE: &str = "correct horse battery";

    #[tokio::test]
    async fn a_seal_opens_with_its_passphrase_only_and_asks_for_no_more_than_is_right() {
        let passphrase = Secret::new(PASSPHRASE);
        let (seal, parameters) = Seal::create(&passphrase).await.unwrap();
        let sealed = seal
            .secrets
            .seal("env/a/b/C", &Secret::new("hunter2"))
            .unwrap();
        let again = Seal::open(&passphrase, &parameters).await.unwrap();
        let opened = again.secrets.open_sealed("env/a/b/C", &sealed).unwrap();
        assert_eq!(opened.expose(), "hunter2");
        let wrong = Seal::open(&Secret::new("battery staple"), &parameters).await;
        assert!(
            matches!(wrong, Err(OperationError::Invalid { field, .. }) if field == "passphrase")
        );
        for greedy in [
            SealParameters {
                memory: MOST_MEMORY_KIB + 1,
                ..parameters.clone()
            },
            SealParameters {
                passes: 1_000_000,
                ..parameters.clone()
            },
            SealParameters {
                lanes: 1000,
                ..parameters.clone()
            },
            SealParameters {
                memory: 0,
                ..parameters.clone()
            },
            SealParameters {
                salt: String::new(),
                ..parameters.clone()
            },
            SealParameters {
                salt: "!".to_owned(),
                ..parameters.clone()
            },
        ] {
            let refused = Seal::open(&passphrase, &greedy).await;
            assert!(
                matches!(refused, Err(OperationError::InvalidSource { .. })),
                "{greedy:?}"
            );
        }
    }

    #[tokio::test]
    async fn an_index_is_vouched_for_byte_by_byte_by_one_passphrase() {
        let cheap = SealParameters {
            salt: STANDARD.encode([7; SALT_BYTES]),
            memory: 64,
            passes: 1,
            lanes: 1,
            check: String::new(),
        };
        let derive = async |passphrase: &str, parameters: &SealParameters| {
            let passphrase = Secret::new(passphrase);
            Seal::derive(&passphrase, parameters).await.unwrap()
        };
        let seal = derive(PASSPHRASE, &cheap).await;
        let index = b"{\"files\":[]}";
        let signature = seal.sign(index);
        let good = signature.as_bytes();
        derive(PASSPHRASE, &cheap)
            .await
            .verify(index, good)
            .unwrap();
        let salt = STANDARD.encode([8; SALT_BYTES]);
        let other = SealParameters {
            salt,
            ..cheap.clone()
        };
        assert!(
            derive(PASSPHRASE, &other)
                .await
                .verify(index, good)
                .is_err()
        );
        assert!(
            derive("battery staple", &cheap)
                .await
                .verify(index, good)
                .is_err()
        );
        for i in 0..index.len() {
            let mut changed = index.to_vec();
            changed[i] ^= 1;
            assert!(seal.verify(&changed, good).is_err(), "{i}");
        }
        for i in 0..good.len() {
            let mut changed = good.to_vec();
            // The last bit of a digit; a letter becomes another one or no digit at all.
            changed[i] ^= 1;
            assert!(seal.verify(index, &changed).is_err(), "{i}");
        }
        for none in [&b""[..], b"no digits", &good[..62], &[good, b"00"].concat()] {
            assert!(seal.verify(index, none).is_err());
        }
        // The keys are two: what seals secrets does not vouch for anything.
        assert_eq!(format!("{seal:?}"), "Seal(…)");
    }

    #[tokio::test]
    async fn keys_are_made_one_after_another() {
        let held = AT_ONCE.acquire().await.unwrap();
        let passphrase = Secret::new(PASSPHRASE);
        let mut waiting = std::pin::pin!(Seal::create(&passphrase));
        let waits = futures::poll!(&mut waiting);
        assert!(waits.is_pending());
        assert_eq!(AT_ONCE.available_permits(), 0);
        drop(held);
        waiting.await.unwrap();
        assert_eq!(AT_ONCE.available_permits(), 1);
    }
}
