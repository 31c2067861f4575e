//! What a registry says of an image, over its HTTP API.
//!
//! Theory of operation: the manifest, the one of this architecture where there are several, and its configuration. Whatever
//! comes is bounded in size and time, and leads only where [`Reach`] lets it: a registry is somebody's server.

use std::sync::Arc;
use std::time::Duration;

use coracle_engine::build::RegistryCredentials;
use reqwest::{Client, Response, StatusCode, Url, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::reach::{Reach, Unasked};
use super::reference::Parts;
use crate::client::chain;

/// For one answer of a registry.
const PATIENCE: Duration = Duration::from_secs(15);
/// For all that is asked about one image.
const WHOLE: Duration = Duration::from_mins(1);
/// A manifest, configuration or token is no longer than this.
const MOST_BYTES: usize = 4 << 20;
/// Words of an error that are passed on.
const WORDS: usize = 300;
/// Manifests of one platform and lists of them, as Docker and OCI call them.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json";
const DIGEST: &str = "docker-content-digest";
/// What a reference begins with that belongs to no registry, by convention.
const NO_REGISTRY: &str = "localhost";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Descriptor {
    digest: String,
    size: u64,
    platform: Option<Platform>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Configuration {
    config: Inner,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Inner {
    exposed_ports: Option<std::collections::BTreeMap<String, serde_json::Value>>,
}

/// What a registry has under a reference.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) digest: String,
    pub(super) ports: Vec<u16>,
    pub(super) bytes: u64,
}

/// Why a registry's answer is no help.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It gives none just now: it cannot be reached, or is not well.
    Away(String),
    /// It will never give one: there is no registry.
    Nowhere(String),
    /// It says no, or what it says cannot be used.
    No(String),
}

impl Trouble {
    /// The same, with a further word on it.
    pub(super) fn and(self, word: &str) -> Self {
        let more = |reason: String| format!("{reason}, and {word}");
        match self {
            Self::Away(reason) => Self::Away(more(reason)),
            Self::Nowhere(reason) => Self::Nowhere(more(reason)),
            Self::No(reason) => Self::No(more(reason)),
        }
    }
}

/// A question to a registry about one image.
pub(super) struct Question<'a> {
    pub(super) scheme: &'static str,
    pub(super) parts: Parts<'a>,
    pub(super) credentials: Option<&'a RegistryCredentials>,
}

impl Question<'_> {
    /// Asks it.
    pub(super) async fn ask(self) -> Result<Found, Trouble> {
        if self.parts.host == NO_REGISTRY {
            let words = format!("{NO_REGISTRY} is no registry");
            return Err(Trouble::Nowhere(words));
        }
        let host = self.parts.host.to_owned();
        let asking = async {
            let reach = Reach::of(self.scheme, &host).await;
            let reach = reach.map_err(|no| {
                let words = format!("{host} is not asked: {no}");
                match no {
                    Unasked::Unresolved(_) => Trouble::Away(words),
                    Unasked::NoRegistry(_) => Trouble::Nowhere(words),
                }
            })?;
            let client = client(&reach).map_err(|error| Trouble::Nowhere(chain(&error)))?;
            let mut session = Session {
                question: &self,
                client,
                reach,
                token: None,
            };
            session.look().await
        };
        match tokio::time::timeout(WHOLE, asking).await {
            Ok(found) => found,
            Err(_elapsed) => Err(Trouble::Away(format!("{host} does not answer in time"))),
        }
    }
}

fn client(reach: &Reach) -> Result<Client, reqwest::Error> {
    Client::builder()
        .timeout(PATIENCE)
        .redirect(reach.redirects())
        .dns_resolver(Arc::new(reach.clone()))
        .resolve_to_addrs(&reach.name, &reach.own)
        .build()
}

/// Does a registry answer this machine?
pub(super) async fn answers(scheme: &'static str, host: &str) -> Result<(), String> {
    let reach = Reach::of(scheme, host).await;
    let client = client(&reach.map_err(|no| no.to_string())?);
    let client = client.map_err(|error| error.to_string())?;
    match client.get(format!("{scheme}://{host}/v2/")).send().await {
        // Without credentials it asks for them, which shows that it is there.
        Ok(answer)
            if answer.status().is_success() || answer.status() == StatusCode::UNAUTHORIZED =>
        {
            Ok(())
        }
        Ok(answer) => Err(format!("it answers with {}", answer.status())),
        Err(error) => Err(words(error)),
    }
}

/// An error without addresses in it that nobody typed.
fn words(error: reqwest::Error) -> String {
    chain(&error.without_url()).chars().take(WORDS).collect()
}

struct Session<'a> {
    question: &'a Question<'a>,
    client: Client,
    reach: Reach,
    token: Option<String>,
}

impl Session<'_> {
    async fn look(&mut self) -> Result<Found, Trouble> {
        let version = self.question.parts.version;
        let answer = self.get("manifests", version).await?;
        let digest = answer.headers().get(DIGEST).and_then(|d| d.to_str().ok());
        let digest = digest
            .filter(|digest| is_digest(digest))
            .map(str::to_owned)
            .or_else(|| is_digest(version).then(|| version.to_owned()));
        let Some(digest) = digest else {
            return Err(Trouble::No(
                "the registry does not tell its digest".to_owned(),
            ));
        };
        let mut manifest: Manifest = read(answer).await?;
        if !manifest.manifests.is_empty() {
            let fits = |d: &&Descriptor| {
                d.platform
                    .as_ref()
                    .is_some_and(|p| p.os == "linux" && p.architecture == host())
            };
            let one = manifest.manifests.iter().find(fits);
            let one = one.or(manifest.manifests.first());
            let one = one.map(|d| d.digest.clone()).unwrap_or_default();
            manifest = read(self.get_digest("manifests", &one).await?).await?;
        }
        let sizes = manifest.layers.iter().map(|layer| layer.size);
        let bytes = sizes.fold(0, u64::saturating_add);
        let answer = self.get_digest("blobs", &manifest.config.digest).await?;
        let configuration: Configuration = read(answer).await?;
        let ports = configuration.config.exposed_ports.unwrap_or_default();
        let port = |text: &String| {
            let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            (protocol == "tcp").then(|| port.parse().ok()).flatten()
        };
        Ok(Found {
            digest,
            ports: ports.keys().filter_map(port).collect(),
            bytes,
        })
    }

    /// The same, of something that a manifest named.
    async fn get_digest(&mut self, what: &str, digest: &str) -> Result<Response, Trouble> {
        if !is_digest(digest) {
            let words = "its description names what is no digest";
            return Err(Trouble::No(words.to_owned()));
        }
        self.get(what, digest).await
    }

    async fn get(&mut self, what: &str, version: &str) -> Result<Response, Trouble> {
        let Question { scheme, parts, .. } = self.question;
        let url = format!(
            "{scheme}://{}/v2/{}/{what}/{version}",
            parts.host, parts.path
        );
        let mut answer = self.send(&url).await?;
        if answer.status() == StatusCode::UNAUTHORIZED && self.token.is_none() {
            let challenge = answer.headers().get(header::WWW_AUTHENTICATE);
            let challenge = challenge
                .and_then(|c| c.to_str().ok())
                .unwrap_or_default()
                .to_owned();
            if let Some(token) = self.token(&challenge).await? {
                self.token = Some(token);
                answer = self.send(&url).await?;
            }
        }
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::NOT_FOUND => Err(Trouble::No(format!(
                "{} has no {}",
                parts.host, parts.version
            ))),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Trouble::No(format!(
                "{} does not let us read {}: credentials for it are missing or wrong, or there is no such image (one that nodes were given by hand is called {NO_REGISTRY}/NAME:TAG)",
                parts.host, parts.path
            ))),
            // It is not well, or has no time.
            status
                if status.is_server_error()
                    || matches!(
                        status,
                        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
                    ) =>
            {
                Err(Trouble::Away(format!("{} answered {status}", parts.host)))
            }
            status => Err(Trouble::No(format!("{} answered {status}", parts.host))),
        }
    }

    async fn send(&self, url: &str) -> Result<Response, Trouble> {
        let mut request = self.client.get(url).header(header::ACCEPT, ACCEPTED);
        request = match (&self.token, self.question.credentials) {
            (Some(token), _) => request.bearer_auth(token),
            (None, Some(login)) => request.basic_auth(&login.user, Some(login.password.expose())),
            (None, None) => request,
        };
        request.send().await.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: reqwest::Error) -> Trouble {
        let host = self.question.parts.host;
        // Where it leads is its own word.
        if error.is_redirect() || error.is_builder() {
            return Trouble::No(words(error));
        }
        Trouble::Away(format!("{host} cannot be reached: {}", words(error)))
    }

    /// The token that a registry's challenge asks for (`Bearer realm="…",service="…",scope="…"`).
    async fn token(&self, challenge: &str) -> Result<Option<String>, Trouble> {
        #[derive(Deserialize)]
        struct Token {
            #[serde(alias = "access_token")]
            token: String,
        }
        let Some(rest) = challenge.strip_prefix("Bearer ") else {
            return Ok(None);
        };
        let field = |name: &str| {
            let (_, rest) = rest.split_once(&format!("{name}=\""))?;
            rest.split('"').next().map(str::to_owned)
        };
        let realm = field("realm").and_then(|realm| Url::parse(&realm).ok());
        let Some(realm) = realm else {
            return Ok(None);
        };
        self.reach.check(&realm).map_err(Trouble::No)?;
        let scope = format!("repository:{}:pull", self.question.parts.path);
        let mut query = vec![("scope", scope)];
        query.extend(field("service").map(|service| ("service", service)));
        let mut request = self.client.get(realm).query(&query);
        if let Some(login) = self.question.credentials {
            request = request.basic_auth(&login.user, Some(login.password.expose()));
        }
        let answer = request.send().await.map_err(|error| self.failed(error))?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        Ok(read::<Token>(answer).await.ok().map(|token| token.token))
    }
}

fn is_digest(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:");
    hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

async fn read<T: DeserializeOwned>(mut answer: Response) -> Result<T, Trouble> {
    let mut bytes = Vec::new();
    let away = |error: reqwest::Error| Trouble::Away(words(error));
    while let Some(piece) = answer.chunk().await.map_err(away)? {
        if bytes.len() + piece.len() > MOST_BYTES {
            return Err(Trouble::No("its description is too long".to_owned()));
        }
        bytes.extend_from_slice(&piece);
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Trouble::No(format!("its description cannot be read: {error}")))
}

const fn host() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}
