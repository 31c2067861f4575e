//! The command line's own file: which platform it speaks to, and as whom.

use std::path::PathBuf;

use coracle_client::Client;
use coracle_model::env::Secret;
use serde::{Deserialize, Serialize};

use crate::env_vars;
use crate::error::{CliError, Result};

/// Where a platform is when nobody says otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:7070";

/// The file's content.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    /// The platform's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// Who is logged in there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// With this token.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed")]
    pub(crate) token: Option<Secret>,
}

/// The one place where the token is written out: a file for its owner only.
fn exposed<S: serde::Serializer>(token: &Option<Secret>, s: S) -> Result<S::Ok, S::Error> {
    match token {
        Some(token) => s.serialize_str(token.expose()),
        None => s.serialize_none(),
    }
}

impl Config {
    /// Where the file is.
    pub(crate) fn path() -> Result<PathBuf> {
        if let Some(path) = env_vars::read(env_vars::CONFIG) {
            return Ok(PathBuf::from(path));
        }
        let base = env_vars::read("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| env_vars::read("HOME").map(|home| PathBuf::from(home).join(".config")));
        let base = base.ok_or_else(|| {
            CliError::new("there is no HOME to keep the login in")
                .hint(format!("name a file with {}", env_vars::CONFIG))
        })?;
        Ok(base.join("coracle/config.toml"))
    }

    /// What is in the file; nothing when there is none.
    pub(crate) fn read() -> Result<Self> {
        let path = Self::path()?;
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(CliError::caused(
                    format!("{} cannot be read", path.display()),
                    &error,
                ));
            }
        };
        // The parser's message would show the line at fault, which may be the token's.
        toml::from_str(&text).map_err(|_told_without_text| {
            CliError::new(format!("{} is damaged", path.display()))
                .hint("delete it and log in again with `coracle login`")
        })
    }

    /// Replaces the file, for its owner only.
    pub(crate) fn write(&self) -> Result {
        let path = Self::path()?;
        let fail = |error: &dyn std::error::Error| {
            CliError::caused(format!("{} cannot be written", path.display()), error)
                .hint(format!("name another file with {}", env_vars::CONFIG))
        };
        let text = toml::to_string(self).map_err(|error| fail(&error))?;
        coracle_control::vault::write_private(&path, text.as_bytes()).map_err(|error| fail(&error))
    }
}

/// Which platform, and the token for it: the environment comes before the file. A token from the file is only for
/// the platform that the file names.
pub(crate) fn login() -> Result<(String, Option<Secret>)> {
    let config = match (
        env_vars::read(env_vars::URL),
        env_vars::read(env_vars::TOKEN),
    ) {
        (Some(url), Some(token)) => return Ok((url, Some(Secret::new(token)))),
        (url, token) => {
            let config = Config::read()?;
            let known = config.url.clone();
            let same =
                url.is_none() || url.as_deref().map(plain_url) == known.as_deref().map(plain_url);
            let token = token.map(Secret::new).or(config.token.filter(|_| same));
            (url.or(known), token)
        }
    };
    let (url, token) = config;
    Ok((url.unwrap_or_else(|| DEFAULT_URL.to_owned()), token))
}

fn plain_url(url: &str) -> &str {
    url.trim_end_matches('/')
}

/// A client for the platform that is logged in to.
pub(crate) fn client() -> Result<Client> {
    let (url, token) = login()?;
    let Some(token) = token else {
        return Err(CliError::new(format!("nobody is logged in at {url}")).hint(format!(
            "run `coracle login {url} --user NAME`; on the platform's own machine `coracle up` logs you in"
        )));
    };
    Ok(Client::new(&url, Some(&token))?)
}
