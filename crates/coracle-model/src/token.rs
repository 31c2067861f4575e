//! API tokens and sessions: keys to the API, hashed at rest.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::name::UserName;
use crate::object::{Kind, Of, Spec};
use crate::user::{ProjectScope, Role};

/// A token. Its secret is shown once, when it is made; the store has its hash.
pub type Token = Of<TokenSpec>;

/// What a token opens. It never opens more than its user may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenSpec {
    /// Whose it is.
    pub user: UserName,
    /// The most that it allows.
    pub role: Role,
    /// Where it holds.
    #[serde(default)]
    pub projects: ProjectScope,
    /// When it ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<DateTime<Utc>>,
    /// What it was made for.
    #[serde(default)]
    pub purpose: TokenPurpose,
}

/// What a token was made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenPurpose {
    /// Programs and the command line.
    #[default]
    Api,
    /// A browser's or command line's login.
    Session,
}

/// What is known of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct TokenStatus {
    /// When it was last used, to the hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<DateTime<Utc>>,
}

impl Spec for TokenSpec {
    const KIND: Kind = Kind::Token;
    type Status = TokenStatus;
}
