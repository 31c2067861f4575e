//! Pushing what was built.

use std::collections::BTreeMap;

use bollard::Docker;
use bollard::query_parameters::PushImageOptions;
use coracle_engine::EngineError;
use coracle_engine::build::{BuildEvent, BuildProgress, BuildRequest};
use coracle_model::name::ImageRef;
use futures::StreamExt as _;

use crate::client::{engine_error, status_of, words_of};
use crate::image;
use crate::reference::Reference;

/// Pushes the tag of a request and tells under which digest the registry has it.
pub(super) async fn push(
    docker: &Docker,
    request: &BuildRequest,
    events: &BuildProgress,
) -> Result<ImageRef, EngineError> {
    let target = Reference::parse(request.push.as_str());
    let options = PushImageOptions {
        tag: target.tag.map(str::to_owned),
        ..PushImageOptions::default()
    };
    let credentials = request.credentials.as_ref().map(image::login);
    let mut steps = docker.push_image(target.repository, Some(options), credentials);
    let mut layers = Layers::default();
    let mut digest = None;
    while let Some(step) = steps.next().await {
        let step = step.map_err(|error| push_error(&target, error))?;
        if let Some(found) = step.status.as_deref().and_then(digest_of) {
            digest = Some(found);
        }
        if let Some(detail) = step.progress_detail
            && let (Some(current), Some(total)) = (detail.current, detail.total)
        {
            let event = layers.take(current, total);
            super::tell(events, event).await;
        }
    }
    let digest = match digest {
        Some(digest) => digest,
        None => local_digest(docker, request, &target).await?,
    };
    ImageRef::new(format!("{}@{digest}", target.repository)).map_err(|error| EngineError::Failed {
        message: format!("the registry's digest cannot be read: {error}"),
        source: None,
    })
}

/// Docker does not say which layer a figure is of: layers are told apart by their size.
#[derive(Debug, Default)]
struct Layers(BTreeMap<u64, u64>);

impl Layers {
    fn take(&mut self, current: i64, total: i64) -> BuildEvent {
        let positive = |n: i64| u64::try_from(n).unwrap_or_default();
        // The figure counts the layer's archive too, which is a little larger than the layer.
        let (current, total) = (positive(current).min(positive(total)), positive(total));
        self.0.insert(total, current);
        BuildEvent::Push {
            current: self.0.values().sum(),
            total: Some(self.0.keys().sum()),
        }
    }
}

/// `latest: digest: sha256:… size: 529`
fn digest_of(status: &str) -> Option<String> {
    let (_, after) = status.split_once("digest: ")?;
    let digest = after.split_ascii_whitespace().next()?;
    digest.starts_with("sha256:").then(|| digest.to_owned())
}

async fn local_digest(
    docker: &Docker,
    request: &BuildRequest,
    target: &Reference<'_>,
) -> Result<String, EngineError> {
    let found = docker
        .inspect_image(request.push.as_str())
        .await
        .map_err(engine_error)?;
    let digests = found.repo_digests.unwrap_or_default();
    let of_target = digests.iter().map(|d| Reference::parse(d));
    of_target
        .filter(|d| d.repository == target.repository)
        .find_map(|d| d.digest.map(str::to_owned))
        .ok_or_else(|| EngineError::Failed {
            message: "the registry told no digest of what was pushed".to_owned(),
            source: None,
        })
}

fn push_error(target: &Reference<'_>, error: bollard::errors::Error) -> EngineError {
    let said = status_of(&error).is_some()
        || matches!(error, bollard::errors::Error::DockerStreamError { .. });
    if !said {
        return engine_error(error);
    }
    EngineError::Failed {
        message: format!(
            "the image was built, but the registry {} did not take it: {}",
            target.host,
            words_of(&error)
        ),
        source: Some(Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_found_in_dockers_words() {
        assert_eq!(
            digest_of("v1: digest: sha256:ab size: 529").as_deref(),
            Some("sha256:ab")
        );
        assert_eq!(digest_of("Pushed"), None);
    }

    #[test]
    fn layers_add_up() {
        let mut layers = Layers::default();
        layers.take(5, 10);
        layers.take(100, 50);
        let all = layers.take(10, 10);
        assert_eq!(
            all,
            BuildEvent::Push {
                current: 60,
                total: Some(60)
            }
        );
    }
}
