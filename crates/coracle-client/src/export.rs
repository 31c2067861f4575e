//! What a platform has, as an archive for another one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use coracle_model::env::Secret;
use coracle_model::name::ProjectName;
use futures::StreamExt as _;
use http::Method;
use http::header::{HeaderName, HeaderValue};
use reqwest::RequestBuilder;

use crate::client::Client;
use crate::error::ClientError;
use crate::{Items, Result};

/// Carries the passphrase of the secrets, in base64.
static PASSPHRASE: HeaderName = HeaderName::from_static("coracle-passphrase");

/// What to export.
#[derive(Clone, Debug, Default)]
pub struct ExportQuery {
    /// These projects only; all when empty.
    pub projects: Vec<ProjectName>,
    /// Users too, without passwords.
    pub users: bool,
}

/// Adds the passphrase that secrets are sealed with.
pub(crate) fn with_passphrase(
    request: RequestBuilder,
    passphrase: Option<&Secret>,
) -> Result<RequestBuilder, ClientError> {
    let Some(passphrase) = passphrase else {
        return Ok(request);
    };
    let mut value = HeaderValue::from_str(&STANDARD.encode(passphrase.expose()))
        .map_err(|_never| ClientError::BadToken)?;
    value.set_sensitive(true);
    Ok(request.header(PASSPHRASE.clone(), value))
}

impl Client {
    /// The archive of an export, as it comes. Only one that came to its end is whole.
    ///
    /// # Errors
    /// [`ClientError`], also as an item of the stream, which then ends.
    pub async fn export(
        &self,
        query: &ExportQuery,
        passphrase: Option<&Secret>,
    ) -> Result<Items<Bytes>> {
        let mut pairs = Vec::new();
        if !query.projects.is_empty() {
            let names: Vec<&str> = query.projects.iter().map(AsRef::as_ref).collect();
            pairs.push(("projects", names.join(",")));
        }
        if query.users {
            pairs.push(("users", "true".to_owned()));
        }
        let request = self.request(Method::GET, "/export").query(&pairs);
        let response = self.open(with_passphrase(request, passphrase)?).await?;
        let client = self.clone();
        Ok(response
            .bytes_stream()
            .map(move |chunk| chunk.map_err(|error| client.failed(error)))
            .boxed())
    }
}
