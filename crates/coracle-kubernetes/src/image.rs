//! Images: asked from their registry over its HTTP API, because a cluster has no word for "pull this and say what it is".
//!
//! Theory of operation: a tag is asked for at its registry: the digest of its manifest pins it, its configuration tells its
//! ports. What the registry says counts: what it does not let us read, or does not have, is not run because some node
//! happens to have it from a time before, or from somebody else. Only where the registry cannot be reached from here
//! (clusters without a way out, images loaded by hand), and it is not our own, the reference is taken as it was given
//! if a node has the image; what is told of it then has no digest and no ports.

mod reach;
mod reference;
mod registry;

use std::sync::Arc;

use coracle_engine::build::RegistryCredentials;
use coracle_engine::{EngineError, ImageInfo};
use coracle_model::name::ImageRef;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;

use crate::client::engine_error;
use crate::config::RegistryNames;
use crate::state::Core;
use reference::{Parts, parts};
use registry::{Found, Question, Trouble};

/// Does a registry answer this machine?
pub(crate) async fn registry_answers(host: &str) -> Result<(), String> {
    registry::answers(scheme(host), host).await
}

/// Registries of this machine speak plain HTTP, as container runtimes assume; all others TLS.
fn scheme(host: &str) -> &'static str {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let loopback = name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if loopback { "http" } else { "https" }
}

/// Whose registry an image is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registry {
    /// The platform's own.
    Own,
    /// Somebody else's.
    Other,
}

impl Registry {
    fn of(own: Option<&RegistryNames>, parts: &Parts<'_>) -> Self {
        match own {
            Some(names) if [&names.own, &names.nodes].iter().any(|n| **n == parts.host) => {
                Self::Own
            }
            _ => Self::Other,
        }
    }
}

fn question<'a>(
    core: &Core,
    image: &'a ImageRef,
    credentials: Option<&'a RegistryCredentials>,
) -> Question<'a> {
    let parts = parts(image.as_str());
    let own = core.config.registry.as_ref();
    let scheme = match own.is_some_and(|names| names.own == parts.host) {
        // The control plane's own listener, wherever it listens.
        true => "http",
        false => scheme(parts.host),
    };
    Question {
        scheme,
        parts,
        credentials,
    }
}

fn told(found: Found, image: &ImageRef) -> Result<ImageInfo, EngineError> {
    let parts = parts(image.as_str());
    let pinned = ImageRef::new(format!("{}@{}", parts.written, found.digest));
    Ok(ImageInfo {
        pinned: pinned.map_err(|error| unavailable(image, error.to_string()))?,
        ports: found.ports,
        bytes: found.bytes,
    })
}

/// Says which image its registry has under a reference, and takes nobody else's word for it. That a registry cannot be
/// asked is an error that passes.
pub(crate) async fn ask_registry(
    core: &Core,
    image: &ImageRef,
    credentials: Option<&RegistryCredentials>,
) -> Result<ImageInfo, EngineError> {
    match question(core, image, credentials).ask().await {
        Ok(found) => told(found, image),
        Err(trouble) => Err(failed(image, trouble)),
    }
}

/// Says which image a reference is exactly.
pub(crate) async fn resolve(
    core: &Arc<Core>,
    image: &ImageRef,
    credentials: Option<&RegistryCredentials>,
) -> Result<ImageInfo, EngineError> {
    let whose = Registry::of(core.config.registry.as_ref(), &parts(image.as_str()));
    let trouble = match question(core, image, credentials).ask().await {
        Ok(found) => return told(found, image),
        Err(trouble) => trouble,
    };
    let (Trouble::Away(reason) | Trouble::Nowhere(reason)) = &trouble else {
        return Err(failed(image, trouble));
    };
    if whose == Registry::Own {
        return Err(failed(image, trouble));
    }
    if let Some(bytes) = on_nodes(core, image).await? {
        tracing::info!(%image, reason, "a node has the image: it is taken as it was given");
        return Ok(as_given(image, bytes));
    }
    if image.as_str().contains('@') {
        // The nodes may reach what we cannot; a digest leaves nothing to find out but ports.
        return Ok(as_given(image, 0));
    }
    Err(failed(image, trouble.and("no node has it")))
}

fn as_given(image: &ImageRef, bytes: u64) -> ImageInfo {
    ImageInfo {
        pinned: image.clone(),
        ports: Vec::new(),
        bytes,
    }
}

fn failed(image: &ImageRef, trouble: Trouble) -> EngineError {
    match trouble {
        Trouble::No(reason) | Trouble::Nowhere(reason) => unavailable(image, reason),
        Trouble::Away(reason) => EngineError::RegistryUnavailable {
            image: image.to_string(),
            reason,
        },
    }
}

fn unavailable(image: &ImageRef, reason: String) -> EngineError {
    EngineError::ImageUnavailable {
        image: image.to_string(),
        reason,
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
mod tests;
