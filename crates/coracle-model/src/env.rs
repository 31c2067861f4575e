//! Environment variables and secrets.
//!
//! Theory of operation: a variable is either plain, and then everybody who may see the app may read it, or
//! secret, and then it is sealed (encrypted) before it reaches the store and is opened only where a
//! workload is made. The read API answers with [`EnvView`], which has no place for a secret's value.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::name::EnvName;

/// A value that must not be seen: it has no `Display`, no `Serialize`, and a `Debug` without the value.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for where it must be used.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A variable as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// Readable by everybody who may see the app.
    Plain(String),
    /// Encrypted with the platform's key; base64.
    Sealed(String),
}

/// Variables by name, as they are stored.
pub type EnvVars = BTreeMap<EnvName, EnvValue>;

/// A variable as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EnvView {
    /// The value of a plain variable; absent for a secret one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Is it secret, and its value never shown?
    pub secret: bool,
}

impl From<&EnvValue> for EnvView {
    fn from(value: &EnvValue) -> Self {
        match value {
            EnvValue::Plain(value) => Self {
                value: Some(value.clone()),
                secret: false,
            },
            EnvValue::Sealed(_) => Self {
                value: None,
                secret: true,
            },
        }
    }
}

/// A change of an app's variables. Those that are not named stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvChange {
    /// Plain variables to set.
    #[serde(default)]
    pub set: BTreeMap<EnvName, String>,
    /// Secret variables to set.
    #[serde(default, serialize_with = "exposed")]
    pub secret: BTreeMap<EnvName, Secret>,
    /// Variables to remove.
    #[serde(default)]
    pub unset: Vec<EnvName>,
}

/// The one place where secrets are written out: the request that sets them.
fn exposed<S: Serializer>(secrets: &BTreeMap<EnvName, Secret>, s: S) -> Result<S::Ok, S::Error> {
    s.collect_map(secrets.iter().map(|(name, secret)| (name, secret.expose())))
}

impl EnvChange {
    /// The most bytes that one value may have.
    pub const VALUE_BYTES: usize = 64 * 1024;
    /// The most variables that an app may have.
    pub const VARIABLES: usize = 1000;
}
