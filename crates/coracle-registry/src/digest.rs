//! Content digests: the names of everything that is stored.
//!
//! Theory of operation: only algorithms that the registry can compute are accepted, in exactly one spelling
//! (lower-case hexadecimal of the right length), so that a digest is safe as a part of a path and two equal digests
//! are equal strings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// A hash function of the OCI image specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256: what every client uses.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// As in front of the colon of a digest.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Hexadecimal digits of a digest.
    const fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A text that is not a digest that the registry can check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("digest {shown}: use sha256: or sha512: and lower-case hexadecimal digits (64 or 128)")]
pub struct InvalidDigest {
    /// What was given, shortened and escaped.
    pub shown: String,
}

/// A parsed content digest such as `sha256:e3b0…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

impl Digest {
    /// The SHA-256 digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The hash function.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal part.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first digits, as people know them.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.as_str(), self.hex)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidDigest {
            shown: coracle_model::name::shown(s),
        };
        let (name, hex) = s.split_once(':').ok_or_else(invalid)?;
        let algorithm = [Algorithm::Sha256, Algorithm::Sha512]
            .into_iter()
            .find(|a| a.as_str() == name)
            .ok_or_else(invalid)?;
        let lower_hex = hex
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex.len() != algorithm.hex_len() || !lower_hex {
            return Err(invalid());
        }
        Ok(Self {
            algorithm,
            hex: hex.into(),
        })
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// A running hash.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
        }
    }

    pub(crate) const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(h) => h.update(bytes),
            Self::Sha512(h) => h.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        let hex = match self {
            Self::Sha256(h) => hex::encode(h.finalize()),
            Self::Sha512(h) => hex::encode(h.finalize()),
        };
        Digest {
            algorithm,
            hex: hex.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_digest() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
        assert!(
            Hasher::new(Algorithm::Sha512)
                .finish()
                .to_string()
                .parse::<Digest>()
                .is_ok()
        );
    }

    #[test]
    fn hostile_digests_are_refused() {
        let hex = "a".repeat(64);
        for bad in [
            String::new(),
            "sha256".into(),
            "sha256:".into(),
            format!("sha256:{}", "A".repeat(64)),
            format!("sha256:{}", "a".repeat(63)),
            format!("sha256:{}", "a".repeat(65)),
            format!("sha512:{hex}"),
            format!("md5:{hex}"),
            format!("SHA256:{hex}"),
            format!("sha256:{hex}\n"),
            format!("sha256:../../{}", "a".repeat(58)),
            format!("sha256:{}é", "a".repeat(62)),
            format!("sha256:sha256:{hex}"),
        ] {
            let error = bad.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains("sha512") && !error.contains('\n'), "{error}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_digest_is_a_safe_path_part(s in "(sha256|sha512|x):?\\PC{0,130}") {
            if let Ok(digest) = s.parse::<Digest>() {
                prop_assert!(digest.hex().bytes().all(|b| b.is_ascii_hexdigit()));
                prop_assert_eq!(digest.to_string(), s);
            }
        }
    }
}
