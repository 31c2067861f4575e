//! The seal of an export: a key made of a passphrase.
//!
//! Argon2id makes guessing dear; what is sealed is bound to its place as the platform's own secrets are
//! ([`Vault`]). The parameters come with the export and so from outside: they are bounded before they are used.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_model::env::Secret;
use zeroize::Zeroizing;

use crate::archive::SealParameters;
use crate::error::OperationError;
use crate::vault::Vault;

/// The shortest and the longest passphrase, in bytes.
pub const PASSPHRASE: std::ops::RangeInclusive<usize> = 8..=1024;

/// What is asked of this machine to make a key: 64 MiB, three passes (RFC 9106's choice where memory is scarce).
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// The most that an export may ask of it.
const MOST_MEMORY_KIB: u32 = 256 * 1024;
const MOST_PASSES: u32 = 10;
const MOST_LANES: u32 = 4;

const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;

/// Where the known text is sealed for, and what it is.
const CHECK: &str = "coracle export";

/// A new seal, and the parameters by which [`open`] finds its key again.
///
/// # Errors
/// [`OperationError::Invalid`] for a passphrase that is too short.
pub async fn create(passphrase: &Secret) -> Result<(Vault, SealParameters), OperationError> {
    let mut salt = [0_u8; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|_no_entropy| OperationError::Unseal)?;
    let mut parameters = SealParameters {
        salt: STANDARD.encode(salt),
        memory: MEMORY_KIB,
        passes: PASSES,
        lanes: LANES,
        check: String::new(),
    };
    let vault = derive(passphrase, &parameters).await?;
    parameters.check = vault.seal(CHECK, &Secret::new(CHECK))?;
    Ok((vault, parameters))
}

/// The seal of an export.
///
/// # Errors
/// [`OperationError::Invalid`] when it is not the passphrase that the export was made with.
pub async fn open(
    passphrase: &Secret,
    parameters: &SealParameters,
) -> Result<Vault, OperationError> {
    let vault = derive(passphrase, parameters).await?;
    match vault.open_sealed(CHECK, &parameters.check) {
        Ok(text) if text.expose() == CHECK => Ok(vault),
        _ => Err(OperationError::invalid(
            "passphrase",
            "it is not the passphrase that this export was made with",
        )),
    }
}

async fn derive(passphrase: &Secret, parameters: &SealParameters) -> Result<Vault, OperationError> {
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
        Some(KEY_BYTES),
    )
    .map_err(|_out_of_range| refused())?;
    let passphrase = passphrase.clone();
    let key = tokio::task::spawn_blocking(move || {
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, known)
            .hash_password_into(passphrase.expose().as_bytes(), &salt, &mut *key)
            .map(|()| key)
    })
    .await
    .map_err(|_panic| OperationError::Unseal)?
    .map_err(|_salt| refused())?;
    Ok(Vault::of_key(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_seal_opens_with_its_passphrase_only_and_asks_for_no_more_than_is_right() {
        let passphrase = Secret::new("correct horse battery");
        let (vault, parameters) = create(&passphrase).await.unwrap();
        let sealed = vault.seal("env/a/b/C", &Secret::new("hunter2")).unwrap();
        let again = open(&passphrase, &parameters).await.unwrap();
        let opened = again.open_sealed("env/a/b/C", &sealed).unwrap();
        assert_eq!(opened.expose(), "hunter2");
        let wrong = open(&Secret::new("battery staple"), &parameters).await;
        assert!(
            matches!(wrong, Err(OperationError::Invalid { field, .. }) if field == "passphrase")
        );
        for greedy in [
            SealParameters {
                memory: u32::MAX,
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
            let refused = open(&passphrase, &greedy).await;
            assert!(
                matches!(refused, Err(OperationError::InvalidSource { .. })),
                "{greedy:?}"
            );
        }
    }
}
