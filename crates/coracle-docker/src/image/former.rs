//! Images that a former version built and gave tags that everybody can foresee.
//!
//! Theory of operation: they get the tag that they would have today. That is done once in a process's life, and again until it
//! was done: a daemon that is away, or an image that cannot be renamed just now, keeps whoever builds or removes images
//! waiting for no more than one try, and is tried again with growing pauses beside. An image that went meanwhile is done.
//! Labels are what anybody may write into an image: what they say is used only as far as it can be part of a tag.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::Docker;
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions, TagImageOptions};
use coracle_engine::EngineError;
use coracle_task::Backoff;

use crate::client::{engine_error, ignore_missing};
use crate::facts::{BUILD, PLATFORM};
use crate::reference::Reference;
use crate::state::Core;

/// Letters of a build's id that are part of a tag.
const ID_LETTERS: usize = 64;

/// Tries until they are hidden.
pub(crate) fn spawn(core: &Arc<Core>) {
    let own = Arc::clone(core);
    let supervisor = &core.config.supervisor;
    supervisor.spawn("docker-image-names", async move {
        let mut pauses = Backoff::default();
        while let Err(error) = hidden(&own).await {
            tracing::warn!(%error, "images of earlier builds keep tags that everybody can foresee; it is tried again");
            tokio::time::sleep(pauses.next_delay()).await;
        }
    });
}

/// Makes sure that they are hidden.
pub(crate) async fn hidden(core: &Core) -> Result<(), EngineError> {
    let hide = || hide(core);
    core.images_hidden.get_or_try_init(hide).await?;
    Ok(())
}

/// Renames each of them that it can, and tells of the first that it could not.
async fn hide(core: &Core) -> Result<(), EngineError> {
    let docker = core.client.docker().await?;
    let labels = vec![
        format!("{PLATFORM}={}", core.config.platform),
        BUILD.to_owned(),
    ];
    let options = ListImagesOptions {
        filters: Some(HashMap::from([("label".to_owned(), labels)])),
        ..ListImagesOptions::default()
    };
    let images = docker.list_images(Some(options)).await;
    let mut failed = None;
    for image in images.map_err(engine_error)? {
        let Some(build) = image.labels.get(BUILD) else {
            continue;
        };
        for name in &image.repo_tags {
            let Some((repository, tag)) = hidden_tag(name, build) else {
                continue;
            };
            if let Err(error) = rename(&docker, &image.id, name, (repository, tag)).await {
                tracing::warn!(image = name, %error, "an image keeps a tag that everybody can foresee");
                failed = failed.or(Some(error));
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn rename(
    docker: &Docker,
    id: &str,
    from: &str,
    (repository, tag): (&str, String),
) -> Result<(), EngineError> {
    let to = TagImageOptions {
        repo: Some(repository.to_owned()),
        tag: Some(tag),
    };
    ignore_missing(docker.tag_image(id, Some(to)).await).map_err(engine_error)?;
    let untagged = docker.remove_image(from, None::<RemoveImageOptions>, None);
    ignore_missing(untagged.await.map(drop)).map_err(engine_error)
}

/// The repository of an image, and the tag that it gets instead of one of a build's number alone. Whichever registry it was
/// pushed to: the platform's own may have had another name.
fn hidden_tag<'a>(name: &'a str, build: &str) -> Option<(&'a str, String)> {
    let name = Reference::parse(name);
    let tag = name.tag.filter(|_| !name.host.is_empty())?;
    let number = tag.strip_prefix('b')?;
    let of_build = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit());
    let is_id = !build.is_empty()
        && build.len() <= ID_LETTERS
        && build
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'-');
    (of_build && is_id).then(|| (name.repository, format!("{tag}-{build}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_of_a_number_alone_is_hidden() {
        for host in ["127.0.0.1:7070", "paas.example.org"] {
            let name = format!("{host}/shop/web:b3");
            let (repository, tag) = hidden_tag(&name, "00ff").unwrap();
            assert_eq!(repository, format!("{host}/shop/web"));
            assert_eq!(tag, "b3-00ff");
        }
        for other in [
            "127.0.0.1:7070/shop/web:b3-00ff",
            "127.0.0.1:7070/shop/web:b",
            "127.0.0.1:7070/shop/web:latest",
            "shop/web:b3",
            "<none>:<none>",
        ] {
            assert_eq!(hidden_tag(other, "00ff"), None, "{other}");
        }
        for no_id in ["", "a b", "a/b", &"x".repeat(ID_LETTERS + 1)] {
            assert_eq!(hidden_tag("127.0.0.1:7070/shop/web:b3", no_id), None);
        }
    }
}
