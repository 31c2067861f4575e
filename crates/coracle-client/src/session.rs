//! Logging in and out.

use chrono::{DateTime, Utc};
use coracle_model::env::Secret;
use coracle_model::name::UserName;
use coracle_model::user::{ProjectScope, Role};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::client::Client;

/// A new session.
#[derive(Clone, Debug, Deserialize)]
pub struct Session {
    /// The token to go on with.
    pub token: Secret,
    /// When it ends.
    pub expires: DateTime<Utc>,
    /// Whose it is.
    pub user: UserName,
    /// What they may do.
    pub role: Role,
}

/// Who is logged in, and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhoAmI {
    /// The user's name.
    pub user: UserName,
    /// What they may do.
    pub role: Role,
    /// Where.
    #[serde(default)]
    pub projects: ProjectScope,
    /// When the session or token ends; absent: never.
    #[serde(default)]
    pub expires: Option<DateTime<Utc>>,
    /// The platform's version.
    #[serde(default)]
    pub version: String,
    /// Apps are served under this domain.
    #[serde(default)]
    pub domain: String,
}

#[derive(Serialize)]
struct Login<'a> {
    user: &'a UserName,
    password: &'a str,
}

impl Client {
    /// Logs in. Go on with [`Client::with_token`].
    ///
    /// # Errors
    /// [`crate::ClientError::Unauthenticated`] for a wrong user name or password.
    pub async fn log_in(&self, user: &UserName, password: &Secret) -> Result<Session> {
        let login = Login {
            user,
            password: password.expose(),
        };
        self.post("/session", &login).await
    }

    /// Who is logged in.
    ///
    /// # Errors
    /// [`crate::ClientError::Unauthenticated`] when nobody is.
    pub async fn who_am_i(&self) -> Result<WhoAmI> {
        self.get("/session").await
    }

    /// Ends the session, or the token, that this client has.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn log_out(&self) -> Result<()> {
        self.delete("/session", None).await
    }
}
