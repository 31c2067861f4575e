//! API tokens.

use coracle_model::env::Secret;
use coracle_model::name::TokenName;
use coracle_model::quantity::Span;
use coracle_model::token::Token;
use coracle_model::user::{ProjectScope, Role};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::client::Client;

/// A token to be made.
#[derive(Clone, Debug, Serialize)]
pub struct NewToken {
    /// Its name.
    pub name: TokenName,
    /// The most that it allows; the maker's own role when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Where it holds.
    pub projects: ProjectScope,
    /// How long it lasts; for ever when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Span>,
}

/// A new token with its secret, which is shown this once.
#[derive(Clone, Debug, Deserialize)]
pub struct MadeToken {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// Present it as `Authorization: Bearer`.
    pub secret: Secret,
}

impl Client {
    /// The caller's tokens.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn tokens(&self) -> Result<Vec<Token>> {
        self.all("/tokens").await
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn create_token(&self, new: &NewToken) -> Result<MadeToken> {
        self.post("/tokens", new).await
    }

    /// Deletes a token.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn delete_token(&self, token: &TokenName) -> Result<()> {
        self.delete(&format!("/tokens/{token}"), None).await
    }
}
