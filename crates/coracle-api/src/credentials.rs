//! From credentials to a caller.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use coracle_control::build_pass::BuildGrant;
use coracle_control::{Control, OperationError};
use coracle_model::env::Secret;
use coracle_model::name::ProjectName;
use subtle::ConstantTimeEq as _;

use crate::caller::Caller;

/// The cookie of the dashboard's session, where the API is reached without TLS.
const SESSION_COOKIE: &str = "coracle_session";

/// The same over TLS. Browsers take a cookie of such a name from a secure page of this very host only, so that nobody
/// can plant one from a neighbouring host or over plain HTTP.
const SECURE_SESSION_COOKIE: &str = "__Host-coracle_session";

/// How the browser reaches the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Over TLS, which a proxy before the API ends.
    Tls,
    /// Without.
    Plain,
}

impl Transport {
    /// The API itself speaks plain HTTP: what is before it says what the browser spoke, and the browser names its
    /// page's scheme in `Origin`. Who lies here gets a cookie that their own browser does not send back.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let forwarded = text("x-forwarded-proto").is_some_and(|value| {
            let first = value.split(',').next().unwrap_or_default();
            first.trim().eq_ignore_ascii_case("https")
        });
        let origin = text("origin").is_some_and(|origin| {
            let scheme = origin.split_once("://").map(|(scheme, _)| scheme);
            scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
        });
        if forwarded || origin {
            Self::Tls
        } else {
            Self::Plain
        }
    }
}

/// `Set-Cookie` for a session that lasts so many seconds; 0 takes it away.
pub(crate) fn session_cookie(transport: Transport, secret: &str, seconds: i64) -> String {
    let (name, secure) = match transport {
        Transport::Tls => (SECURE_SESSION_COOKIE, "; Secure"),
        Transport::Plain => (SESSION_COOKIE, ""),
    };
    format!("{name}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}")
}

/// How the platform's own parts log in to its registry: made at every start, kept in memory only.
#[derive(Clone, Debug)]
pub struct PlatformCredential(Arc<Secret>);

impl PlatformCredential {
    /// The user name that goes with it.
    pub const USER: &'static str = "coracle-platform";

    /// A new one.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(Arc::new(Secret::new(hex::encode(bytes)))))
    }

    /// The one that all control planes of a platform have.
    #[must_use]
    pub fn shared(secret: Secret) -> Self {
        Self(Arc::new(secret))
    }

    /// The password.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    pub(crate) fn is(&self, presented: &str) -> bool {
        self.0
            .expose()
            .as_bytes()
            .ct_eq(presented.as_bytes())
            .into()
    }
}

/// Where credentials came from: a cookie is sent by browsers without anybody's wish, so it needs more care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// The `Authorization` header.
    Header,
    /// The session cookie.
    Cookie,
}

/// Turns credentials into callers. Clones share the state.
#[derive(Clone, Debug)]
pub struct Authentication {
    control: Control,
}

impl Authentication {
    /// Over the users and tokens of `control`.
    #[must_use]
    pub fn new(control: Control) -> Self {
        Self { control }
    }

    /// What it is over.
    pub(crate) const fn control(&self) -> &Control {
        &self.control
    }

    /// Which image a build's pass may push, if this is one.
    pub(crate) async fn build_grant(
        &self,
        secret: &str,
    ) -> Result<Option<BuildGrant>, OperationError> {
        self.control.build_grant(secret).await
    }

    /// Whose images a project's own secret pulls, if this is one.
    pub(crate) async fn registry_grant(
        &self,
        secret: &str,
    ) -> Result<Option<ProjectName>, OperationError> {
        self.control.registry_grant(secret).await
    }

    /// The caller that a token's secret stands for.
    pub(crate) async fn caller(&self, secret: &str) -> Result<Option<Caller>, OperationError> {
        let Some(token) = self.control.token_by_secret(secret).await? else {
            return Ok(None);
        };
        let name = token.spec.user.clone();
        let user = match self.control.user(&name).await {
            Ok(user) => user,
            Err(OperationError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Err(error) = self.control.note_token_use(&token).await {
            tracing::warn!(%error, "the use of a token could not be noted");
        }
        Ok(Some(Caller::new(name, &user, token)))
    }
}

/// The secret that a request presents: `Bearer`, `Basic` (the password), or the session cookie.
pub(crate) fn presented(headers: &HeaderMap) -> Option<(Secret, Carrier)> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
        let secret = if scheme.eq_ignore_ascii_case("bearer") {
            rest.trim().to_owned()
        } else if scheme.eq_ignore_ascii_case("basic") {
            let decoded = base64::engine::general_purpose::STANDARD
                .decode(rest.trim())
                .ok()?;
            String::from_utf8(decoded)
                .ok()?
                .split_once(':')?
                .1
                .to_owned()
        } else {
            return None;
        };
        return Some((Secret::new(secret), Carrier::Header));
    }
    let cookie = |wanted: &str| {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == wanted)
            .map(|(_, secret)| (Secret::new(secret), Carrier::Cookie))
    };
    cookie(SECURE_SESSION_COOKIE).or_else(|| cookie(SESSION_COOKIE))
}
