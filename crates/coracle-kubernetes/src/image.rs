//! Images: asked from their registry over its HTTP API, because a cluster has no word for "pull this and say what it is".
//!
//! Theory of operation: a reference with a digest is taken as it is. A tag is asked for at its registry: the digest of
//! its manifest pins it, its configuration tells its ports. Where the registry cannot be reached from here, but a node
//! has the image already (clusters without a way out, images loaded by hand), the reference is taken as it was given; what
//! is told of it then has no digest and no ports.

use std::sync::Arc;
use std::time::Duration;

use coracle_engine::build::RegistryCredentials;
use coracle_engine::{EngineError, ImageInfo};
use coracle_model::name::ImageRef;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;
use reqwest::{Client, Response, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::client::engine_error;
use crate::state::Core;

/// For one answer of a registry.
const PATIENCE: Duration = Duration::from_secs(15);
/// A manifest or configuration is no longer than this.
const MOST_BYTES: usize = 4 << 20;
/// Manifests of one platform and lists of them, as Docker and OCI call them.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json";
const DIGEST: &str = "docker-content-digest";

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

/// A reference in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts<'a> {
    host: &'a str,
    path: String,
    /// A tag or a digest.
    version: &'a str,
    /// Host and path as they were written.
    written: &'a str,
}

fn parts(image: &str) -> Parts<'_> {
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (written, tag) = match rest[slash..].find(':') {
        Some(colon) => (&rest[..slash + colon], Some(&rest[slash + colon + 1..])),
        None => (rest, None),
    };
    let version = digest.or(tag).unwrap_or("latest");
    let (host, path) = match written.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
            (host, path.to_owned())
        }
        Some(_) => ("registry-1.docker.io", written.to_owned()),
        None => ("registry-1.docker.io", format!("library/{written}")),
    };
    Parts {
        host,
        path,
        version,
        written,
    }
}

/// Does a registry answer this machine?
pub(crate) async fn registry_answers(host: &str) -> Result<(), String> {
    let client = Client::builder().timeout(PATIENCE).build();
    let client = client.map_err(|error| error.to_string())?;
    let url = format!("{}://{host}/v2/", scheme(host));
    match client.get(url).send().await {
        // Without credentials it asks for them, which shows that it is there.
        Ok(answer)
            if answer.status().is_success() || answer.status() == StatusCode::UNAUTHORIZED =>
        {
            Ok(())
        }
        Ok(answer) => Err(format!("it answers with {}", answer.status())),
        Err(error) => Err(error.without_url().to_string()),
    }
}

/// Registries of this machine and of private addresses by number speak plain HTTP, as container runtimes assume for
/// loopback; all others TLS.
fn scheme(host: &str) -> &'static str {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let loopback = name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if loopback { "http" } else { "https" }
}

struct Asked<'a> {
    client: Client,
    scheme: &'static str,
    parts: Parts<'a>,
    credentials: Option<&'a RegistryCredentials>,
    token: Option<String>,
}

/// Why a registry's answer is no help.
enum Trouble {
    /// It cannot be reached.
    Away(String),
    /// It says no.
    No(String),
}

impl Asked<'_> {
    async fn get(&mut self, what: &str, version: &str) -> Result<Response, Trouble> {
        let parts = &self.parts;
        let url = format!(
            "{}://{}/v2/{}/{what}/{version}",
            self.scheme, parts.host, parts.path
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
                "{} does not let us read {}: credentials for it are missing or wrong",
                parts.host, parts.path
            ))),
            status => Err(Trouble::Away(format!("{} answered {status}", parts.host))),
        }
    }

    async fn send(&self, url: &str) -> Result<Response, Trouble> {
        let mut request = self.client.get(url).header(header::ACCEPT, ACCEPTED);
        request = match (&self.token, self.credentials) {
            (Some(token), _) => request.bearer_auth(token),
            (None, Some(login)) => request.basic_auth(&login.user, Some(login.password.expose())),
            (None, None) => request,
        };
        let away = |error: reqwest::Error| {
            Trouble::Away(format!(
                "{} cannot be reached: {}",
                self.parts.host,
                error.without_url()
            ))
        };
        request.send().await.map_err(away)
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
        let Some(realm) = field("realm") else {
            return Ok(None);
        };
        let scope = format!("repository:{}:pull", self.parts.path);
        let mut query = vec![("scope", scope)];
        query.extend(field("service").map(|service| ("service", service)));
        let mut request = self.client.get(realm).query(&query);
        if let Some(login) = self.credentials {
            request = request.basic_auth(&login.user, Some(login.password.expose()));
        }
        let answer = request.send().await;
        let answer = answer.map_err(|e| Trouble::Away(e.without_url().to_string()))?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        Ok(read::<Token>(answer).await.ok().map(|token| token.token))
    }
}

async fn read<T: DeserializeOwned>(mut answer: Response) -> Result<T, Trouble> {
    let mut bytes = Vec::new();
    let away = |error: reqwest::Error| Trouble::Away(error.without_url().to_string());
    while let Some(piece) = answer.chunk().await.map_err(away)? {
        if bytes.len() + piece.len() > MOST_BYTES {
            return Err(Trouble::No("its description is too long".to_owned()));
        }
        bytes.extend_from_slice(&piece);
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Trouble::No(format!("its description cannot be read: {error}")))
}

/// A question to the registry of an image, not asked yet.
fn asked<'a>(
    core: &Core,
    image: &'a ImageRef,
    credentials: Option<&'a RegistryCredentials>,
) -> Result<Asked<'a>, EngineError> {
    let client = Client::builder()
        .timeout(PATIENCE)
        .build()
        .map_err(|error| EngineError::Failed {
            message: "no client for registries can be made".to_owned(),
            source: Some(Box::new(error)),
        })?;
    let parts = parts(image.as_str());
    let own = core.config.registry.as_ref();
    let scheme = match own.is_some_and(|names| names.own == parts.host) {
        // The control plane's own listener, wherever it listens.
        true => "http",
        false => scheme(parts.host),
    };
    Ok(Asked {
        client,
        scheme,
        parts,
        credentials,
        token: None,
    })
}

/// What a registry has under a reference.
struct Found {
    digest: String,
    ports: Vec<u16>,
    bytes: u64,
}

impl Found {
    fn of(self, image: &ImageRef) -> Result<ImageInfo, EngineError> {
        let parts = parts(image.as_str());
        let pinned = ImageRef::new(format!("{}@{}", parts.written, self.digest));
        Ok(ImageInfo {
            pinned: pinned.map_err(|error| unavailable(image, error.to_string()))?,
            ports: self.ports,
            bytes: self.bytes,
        })
    }
}

/// Says which image its registry has under a reference, and takes nobody else's word for it.
pub(crate) async fn ask_registry(
    core: &Core,
    image: &ImageRef,
    credentials: Option<&RegistryCredentials>,
) -> Result<ImageInfo, EngineError> {
    match ask(asked(core, image, credentials)?).await {
        Ok(found) => found.of(image),
        Err(Trouble::No(reason) | Trouble::Away(reason)) => Err(unavailable(image, reason)),
    }
}

/// Says which image a reference is exactly.
pub(crate) async fn resolve(
    core: &Arc<Core>,
    image: &ImageRef,
    credentials: Option<&RegistryCredentials>,
) -> Result<ImageInfo, EngineError> {
    match ask(asked(core, image, credentials)?).await {
        Ok(found) => found.of(image),
        Err(Trouble::No(reason)) => match on_nodes(core, image).await? {
            Some(bytes) => Ok(as_given(image, bytes)),
            None => Err(unavailable(image, reason)),
        },
        Err(Trouble::Away(reason)) => {
            let pinned = image.as_str().contains('@');
            match on_nodes(core, image).await? {
                Some(bytes) => {
                    tracing::info!(%image, reason, "a node has the image: it is taken as it was given");
                    Ok(as_given(image, bytes))
                }
                // The nodes may reach what we cannot; a digest leaves nothing to find out but ports.
                None if pinned => Ok(as_given(image, 0)),
                None => Err(unavailable(image, format!("{reason}, and no node has it"))),
            }
        }
    }
}

fn as_given(image: &ImageRef, bytes: u64) -> ImageInfo {
    ImageInfo {
        pinned: image.clone(),
        ports: Vec::new(),
        bytes,
    }
}

fn unavailable(image: &ImageRef, reason: String) -> EngineError {
    EngineError::ImageUnavailable {
        image: image.to_string(),
        reason,
    }
}

async fn ask(mut asked: Asked<'_>) -> Result<Found, Trouble> {
    let version = asked.parts.version.to_owned();
    let answer = asked.get("manifests", &version).await?;
    let digest = answer.headers().get(DIGEST).and_then(|d| d.to_str().ok());
    let digest = digest
        .map(str::to_owned)
        .or_else(|| version.starts_with("sha256:").then(|| version.clone()));
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
        let one = manifest
            .manifests
            .iter()
            .find(fits)
            .or(manifest.manifests.first());
        let one = one.map(|d| d.digest.clone()).unwrap_or_default();
        let answer = asked.get("manifests", &one).await?;
        manifest = read(answer).await?;
    }
    let bytes = manifest.layers.iter().map(|layer| layer.size).sum();
    let answer = asked.get("blobs", &manifest.config.digest).await?;
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

const fn host() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}

/// The size of an image that a node has. (Kubelets tell of the fifty largest.)
async fn on_nodes(core: &Core, image: &ImageRef) -> Result<Option<u64>, EngineError> {
    let api: Api<Node> = Api::all(core.client.clone());
    let nodes = api
        .list(&ListParams::default())
        .await
        .map_err(engine_error)?;
    let images = nodes
        .items
        .iter()
        .filter_map(|node| node.status.as_ref()?.images.as_ref());
    let named = |names: &[String]| {
        names.iter().any(|name| {
            name == image.as_str()
                || name.strip_prefix("docker.io/library/") == Some(image.as_str())
                || name.strip_prefix("docker.io/") == Some(image.as_str())
        })
    };
    Ok(images
        .flatten()
        .find(|known| known.names.as_deref().is_some_and(named))
        .map(|known| {
            known
                .size_bytes
                .and_then(|n| u64::try_from(n).ok())
                .unwrap_or_default()
        }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(image: &str) -> (String, String, String) {
        let parts = parts(image);
        (
            parts.host.to_owned(),
            parts.path.clone(),
            parts.version.to_owned(),
        )
    }

    #[test]
    fn references_are_taken_apart() {
        let is = |image: &str, host: &str, path: &str, version: &str| {
            assert_eq!(
                read(image),
                (host.to_owned(), path.to_owned(), version.to_owned())
            );
        };
        is("nginx", "registry-1.docker.io", "library/nginx", "latest");
        is("a/b:1", "registry-1.docker.io", "a/b", "1");
        is(
            "127.0.0.1:7070/default/app:3",
            "127.0.0.1:7070",
            "default/app",
            "3",
        );
        is("ghcr.io/a/b@sha256:00", "ghcr.io", "a/b", "sha256:00");
        is("r:5000/a:1@sha256:00", "r:5000", "a", "sha256:00");
    }

    #[test]
    fn only_loopback_is_asked_in_the_clear() {
        assert_eq!(scheme("127.0.0.1:7070"), "http");
        assert_eq!(scheme("localhost:7070"), "http");
        assert_eq!(scheme("ghcr.io"), "https");
        assert_eq!(scheme("10.0.0.1:5000"), "https");
    }
}
