//! Secrets at rest.
//!
//! Theory of operation: one random 256-bit key in a file that only its owner may read; values are sealed with
//! XChaCha20-Poly1305 under a random 192-bit nonce and bound to the place they are for, so that a sealed
//! value that was copied to another app's record does not open there. What is stored is
//! base64(version ‖ nonce ‖ ciphertext).

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use coracle_model::env::{EnvValue, Secret};
use coracle_model::name::{AppName, EnvName, ProjectName};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::OperationError;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const VERSION: u8 = 1;

/// What names are made of begins with this, so that nothing else that the key may authenticate can be taken for one.
const NAMES: &[u8] = b"coracle v1 name\0";
/// Of SHA-256.
const BLOCK_BYTES: usize = 64;
/// Bytes of a name, before they are written as hexadecimal digits.
const NAME_BYTES: usize = 16;

/// Seals and opens secrets with the platform's key.
#[derive(Clone)]
pub struct Vault {
    cipher: XChaCha20Poly1305,
    names: Hmac<Sha256>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(…)")
    }
}

/// Why the key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// It cannot be read or made.
    #[error("the key file {path} cannot be used")]
    File {
        /// Where it is.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others than its owner may read it.
    #[error("the key file {path} may be read by others (mode {mode:o}): run `chmod 600 {path}`")]
    Open {
        /// Where it is.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// It does not have 32 bytes.
    #[error("the key file {path} does not have {KEY_BYTES} bytes: restore it from a backup")]
    Size {
        /// Where it is.
        path: String,
    },
    /// A key that was given as text is none.
    #[error("a secret key has {KEY_BYTES} bytes: give {n} hexadecimal digits, as `openssl rand -hex {KEY_BYTES}` makes them", n = 2 * KEY_BYTES)]
    Text,
    /// The system has no randomness.
    #[error("the system gives no random numbers")]
    Randomness,
}

impl Vault {
    /// With a key that is given as hexadecimal digits.
    ///
    /// # Errors
    /// [`VaultError::Text`].
    pub fn with_key(text: &Secret) -> Result<Self, VaultError> {
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        hex::decode_to_slice(text.expose().trim(), &mut *key)
            .map_err(|_no_key| VaultError::Text)?;
        Ok(Self::of_key(&key))
    }

    /// With the key in `path`, which is made when it does not exist.
    ///
    /// # Errors
    /// When the file cannot be used or is open to others.
    pub fn open(path: &Path) -> Result<Self, VaultError> {
        let shown = path.display().to_string();
        let fail = |source| VaultError::File {
            path: shown.clone(),
            source,
        };
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        match std::fs::File::open(path) {
            Ok(mut file) => {
                let meta = file.metadata().map_err(fail)?;
                let mode = meta.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(VaultError::Open { path: shown, mode });
                }
                if meta.len() != KEY_BYTES as u64 {
                    return Err(VaultError::Size { path: shown });
                }
                file.read_exact(&mut *key).map_err(fail)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                getrandom::fill(&mut *key).map_err(|_no_entropy| VaultError::Randomness)?;
                match create_private(path, &*key) {
                    Ok(()) => {}
                    // Another control plane came first.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                        return Self::open(path);
                    }
                    Err(error) => return Err(fail(error)),
                }
            }
            Err(error) => return Err(fail(error)),
        }
        Ok(Self::of_key(&key))
    }

    /// With a key that was derived from something else.
    pub(crate) fn of_key(key: &[u8; KEY_BYTES]) -> Self {
        // As HMAC itself fills up a key that is shorter than a block (RFC 2104, section 2).
        let mut block = Zeroizing::new([0_u8; BLOCK_BYTES]);
        block[..KEY_BYTES].copy_from_slice(key);
        Self {
            cipher: XChaCha20Poly1305::new(key.into()),
            names: <Hmac<Sha256> as hmac::KeyInit>::new((&*block).into()),
        }
    }

    /// A name for something that has the id `id` among those of a kind: always the same, and foreseen by nobody without the key.
    #[must_use]
    pub fn name(&self, kind: &str, id: &str) -> String {
        let mut names = self.names.clone();
        for part in [NAMES, kind.as_bytes(), b"\0", id.as_bytes()] {
            names.update(part);
        }
        hex::encode(&names.finalize().into_bytes()[..NAME_BYTES])
    }

    /// Seals `secret` for `place`.
    ///
    /// # Errors
    /// [`OperationError::Unseal`] when the system gives no random numbers.
    pub fn seal(&self, place: &str, secret: &Secret) -> Result<String, OperationError> {
        let mut nonce = [0_u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_no_entropy| OperationError::Unseal)?;
        let payload = Payload {
            msg: secret.expose().as_bytes(),
            aad: place.as_bytes(),
        };
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_opaque| OperationError::Unseal)?;
        let mut out = vec![VERSION];
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(STANDARD.encode(out))
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// [`OperationError::Unseal`] when it was not sealed with this key for this place.
    pub fn open_sealed(&self, place: &str, sealed: &str) -> Result<Secret, OperationError> {
        let bytes = STANDARD
            .decode(sealed)
            .map_err(|_not_base64| OperationError::Unseal)?;
        let (head, ciphertext) = bytes
            .split_at_checked(1 + NONCE_BYTES)
            .ok_or(OperationError::Unseal)?;
        if head[0] != VERSION {
            return Err(OperationError::Unseal);
        }
        let nonce: [u8; NONCE_BYTES] = head[1..]
            .try_into()
            .map_err(|_length| OperationError::Unseal)?;
        let payload = Payload {
            msg: ciphertext,
            aad: place.as_bytes(),
        };
        let plain = self
            .cipher
            .decrypt(&XNonce::from(nonce), payload)
            .map_err(|_opaque| OperationError::Unseal)?;
        String::from_utf8(plain)
            .map(Secret::new)
            .map_err(|_not_utf8| OperationError::Unseal)
    }

    /// Seals an app's variable.
    ///
    /// # Errors
    /// As [`Vault::seal`].
    pub fn seal_env(
        &self,
        project: &ProjectName,
        app: &AppName,
        name: &EnvName,
        secret: &Secret,
    ) -> Result<EnvValue, OperationError> {
        self.seal(&env_place(project, app, name), secret)
            .map(EnvValue::Sealed)
    }

    /// The value of an app's variable, plain or sealed.
    ///
    /// # Errors
    /// As [`Vault::open_sealed`].
    pub fn open_env(
        &self,
        project: &ProjectName,
        app: &AppName,
        name: &EnvName,
        value: &EnvValue,
    ) -> Result<Secret, OperationError> {
        match value {
            EnvValue::Plain(value) => Ok(Secret::new(value.clone())),
            EnvValue::Sealed(sealed) => self.open_sealed(&env_place(project, app, name), sealed),
        }
    }
}

fn env_place(project: &ProjectName, app: &AppName, name: &EnvName) -> String {
    format!("env/{project}/{app}/{name}")
}

/// Writes a new file that only its owner may read; it is whole or not there, also after a crash.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(dir)?;
    let temporary = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(dir)?.sync_all()
}

/// As [`write_private`], but only when there is no such file yet, also where several processes try at once.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`], and when the folder cannot be written.
pub fn create_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    // Another stem, not another extension: the file that it is first written to is called after it.
    let own = path.with_file_name(format!("new-{}", crate::objects::new_uid()));
    write_private(&own, content)?;
    let linked = std::fs::hard_link(&own, path);
    std::fs::remove_file(&own)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lasting_and_nobody_elses() {
        let vault = |byte| Vault::of_key(&[byte; KEY_BYTES]);
        let name = vault(1).name("build cache", "00ff");
        assert_eq!(name, vault(1).name("build cache", "00ff"));
        assert_eq!(name.len(), 2 * NAME_BYTES);
        let others = [
            vault(2).name("build cache", "00ff"),
            vault(1).name("build cache", "00fe"),
            vault(1).name("build", " cache00ff"),
        ];
        assert!(!others.contains(&name));
    }

    #[test]
    fn a_secret_opens_only_where_it_was_sealed_for_and_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/secret.key");
        let vault = Vault::open(&path).unwrap();
        let sealed = vault.seal("env/a/b/C", &Secret::new("hunter2")).unwrap();
        assert!(!sealed.contains("hunter2"));
        assert_ne!(
            sealed,
            vault.seal("env/a/b/C", &Secret::new("hunter2")).unwrap()
        );

        let again = Vault::open(&path).unwrap();
        assert_eq!(
            again.open_sealed("env/a/b/C", &sealed).unwrap().expose(),
            "hunter2"
        );
        assert!(again.open_sealed("env/a/x/C", &sealed).is_err());
        let other = Vault::open(&dir.path().join("other.key")).unwrap();
        assert!(other.open_sealed("env/a/b/C", &sealed).is_err());
        for broken in ["", "AA==", "not base64!", &sealed[..sealed.len() - 4]] {
            assert!(again.open_sealed("env/a/b/C", broken).is_err(), "{broken}");
        }
        assert_eq!(
            format!("{vault:?} {:?}", Secret::new("hunter2")),
            "Vault(…) Secret(…)"
        );
    }

    #[test]
    fn processes_that_start_at_once_have_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/secret.key");
        let open = || Vault::open(&path).unwrap();
        let vaults: Vec<_> = std::thread::scope(|scope| {
            let opening: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            opening.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let sealed = vaults[0].seal("place", &Secret::new("hunter2")).unwrap();
        for vault in &vaults {
            assert_eq!(
                vault.open_sealed("place", &sealed).unwrap().expose(),
                "hunter2"
            );
        }
        let left = std::fs::read_dir(dir.path().join("keys")).unwrap().count();
        assert_eq!(left, 1, "nothing but the key is left");
        let key = Secret::new(hex::encode(std::fs::read(&path).unwrap()));
        let given = Vault::with_key(&key).unwrap();
        assert!(given.open_sealed("place", &sealed).is_ok());
        for wrong in ["", "5e", "no hexadecimal digits"] {
            assert!(matches!(
                Vault::with_key(&Secret::new(wrong)),
                Err(VaultError::Text)
            ));
        }
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        Vault::open(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            Vault::open(&path),
            Err(VaultError::Open { mode: 0o640, .. })
        ));
    }
}
