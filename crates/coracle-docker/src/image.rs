//! Images: which one a reference means, and getting it here.
//!
//! Theory of operation: a local image is taken as it is, so that a machine without a registry works and a
//! deploy of what was just built needs no pull. What pins an image is a digest under which *this* repository
//! has it; an image that no registry has is pinned by its id. For the case that a pod needs the image again after
//! it was removed from the cache there are credentials in memory: those that the project was given for the platform's own
//! registry, and for other registries those that a pull of the same repository worked with.
//!
//! Docker's store is one for everybody, and gives out what is in it without asking who wants it: to the Dockerfile of any
//! project, whose `FROM` it looks up there before it asks a registry. So what not everybody may have is here under names
//! only that nobody can foresee: the tag that a build pushed has random letters in it, and what was pulled with credentials
//! has no tag but its digest. Who knows a digest or such a tag had the image before.

pub(crate) mod former;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::models::ImageInspect;
use bollard::query_parameters::{CreateImageOptions, RemoveImageOptions};
use coracle_engine::build::{PullCredentials, RegistryCredentials};
use coracle_engine::{EngineError, ImageInfo};
use coracle_model::name::{ImageRef, ProjectName};
use futures::StreamExt as _;

use crate::client::{engine_error, ignore_missing, is_missing, status_of, words_of};
use crate::reference::{Reference, exact, is_id};
use crate::state::Core;

/// Credentials that are known in this process's life.
#[derive(Default)]
pub(crate) struct KnownCredentials(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// What each project was given.
    projects: BTreeMap<ProjectName, PullCredentials>,
    /// What worked, by repository: credentials need not be good for another one of the same registry.
    worked: BTreeMap<String, RegistryCredentials>,
}

impl KnownCredentials {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, project: &ProjectName, pull: &PullCredentials) {
        self.known().projects.insert(project.clone(), pull.clone());
    }

    pub(crate) fn forget(&self, project: &ProjectName) {
        self.known().projects.remove(project);
    }

    pub(crate) fn remember(&self, image: &Reference<'_>, credentials: &RegistryCredentials) {
        let mut known = self.known();
        let repository = image.repository.to_owned();
        known.worked.insert(repository, credentials.clone());
    }

    fn of(
        &self,
        image: &Reference<'_>,
        project: Option<&ProjectName>,
    ) -> Option<RegistryCredentials> {
        let known = self.known();
        let given = project.and_then(|project| known.projects.get(project));
        // For the platform's own registry a project has these and no others.
        let given = given.and_then(|pull| pull.of(image.host));
        given
            .or_else(|| known.worked.get(image.repository))
            .cloned()
    }
}

pub(crate) async fn resolve(
    core: &Core,
    image: &ImageRef,
    credentials: Option<&RegistryCredentials>,
) -> Result<ImageInfo, EngineError> {
    let docker = core.client.docker().await?;
    if let Some(info) = local(&docker, image).await? {
        return Ok(info);
    }
    let known = core.credentials.of(&Reference::parse(image.as_str()), None);
    let used = credentials.or(known.as_ref());
    let pulled = pull(&docker, image, used).await?;
    if let Some(used) = used {
        let reference = Reference::parse(image.as_str());
        core.credentials.remember(&reference, used);
    }
    local(&docker, &pulled)
        .await?
        .ok_or_else(|| unavailable(image, "it was pulled and is gone again"))
}

/// The image as it is here.
async fn local(docker: &Docker, image: &ImageRef) -> Result<Option<ImageInfo>, EngineError> {
    let Some(name) = exact(image) else {
        return Ok(None);
    };
    match docker.inspect_image(&name).await {
        Ok(found) => info(image, &found).map(Some),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(engine_error(error)),
    }
}

pub(crate) fn info(asked: &ImageRef, found: &ImageInspect) -> Result<ImageInfo, EngineError> {
    let reference = Reference::parse(asked.as_str());
    let id = found.id.as_deref().unwrap_or_default();
    let digests = found.repo_digests.as_deref().unwrap_or_default();
    let of_this = |digest: &&String| {
        let digest = Reference::parse(digest);
        digest.familiar() == reference.familiar()
            && reference.digest.is_none_or(|d| digest.digest == Some(d))
    };
    let pinned = if is_id(asked) {
        id
    } else {
        digests.iter().find(of_this).map_or(id, String::as_str)
    };
    let pinned = ImageRef::new(pinned).map_err(|_| EngineError::Failed {
        message: format!("Docker names image {asked} in a way that cannot be read"),
        source: None,
    })?;
    let ports = found
        .config
        .as_ref()
        .and_then(|c| c.exposed_ports.as_ref())
        .map(|ports| exposed(ports))
        .unwrap_or_default();
    Ok(ImageInfo {
        pinned,
        ports,
        bytes: found
            .size
            .and_then(|s| u64::try_from(s).ok())
            .unwrap_or_default(),
    })
}

/// TCP ports of `8080/tcp` and the like, lowest first.
pub(crate) fn exposed(ports: &[String]) -> Vec<u16> {
    let mut ports: Vec<u16> = ports
        .iter()
        .filter_map(|port| match port.split_once('/') {
            Some((number, "tcp")) => number.parse().ok(),
            Some(_) => None,
            None => port.parse().ok(),
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn unavailable(image: &ImageRef, reason: &str) -> EngineError {
    EngineError::ImageUnavailable {
        image: image.to_string(),
        reason: reason.to_owned(),
    }
}

pub(crate) fn login(credentials: &RegistryCredentials) -> DockerCredentials {
    DockerCredentials {
        username: Some(credentials.user.clone()),
        password: Some(credentials.password.expose().to_owned()),
        ..DockerCredentials::default()
    }
}

/// Gets an image here for a pod of `project`, and says by which name it is here.
pub(crate) async fn pull_for(
    core: &Core,
    docker: &Docker,
    project: &ProjectName,
    image: &ImageRef,
) -> Result<String, EngineError> {
    let reference = Reference::parse(image.as_str());
    let known = core.credentials.of(&reference, Some(project));
    let pulled = pull(docker, image, known.as_ref()).await?;
    Ok(pulled.to_string())
}

/// Gets an image here, and says by which name it is here. Under its tag others could name it without being asked who they
/// are: what takes credentials is pulled by its digest.
async fn pull(
    docker: &Docker,
    image: &ImageRef,
    credentials: Option<&RegistryCredentials>,
) -> Result<ImageRef, EngineError> {
    let Some(name) = exact(image).filter(|_| !is_id(image)) else {
        return Err(unavailable(
            image,
            "there is no local image with this id, and no registry can be asked for one",
        ));
    };
    let reference = Reference::parse(&name);
    let failed = |error| pull_error(image, &reference, error);
    let told = match credentials {
        Some(credentials) if reference.digest.is_none() => {
            let login = Some(login(credentials));
            let told = docker.inspect_registry_image(&name, login).await;
            told.map_err(failed)?.descriptor.digest
        }
        _ => None,
    };
    let digest = told.as_deref().or(reference.digest);
    let options = CreateImageOptions {
        from_image: Some(reference.repository.to_owned()),
        tag: digest.or(reference.tag).map(str::to_owned),
        ..CreateImageOptions::default()
    };
    let mut progress = docker.create_image(Some(options), None, credentials.map(login));
    while let Some(step) = progress.next().await {
        step.map_err(failed)?;
    }
    let here = match digest {
        Some(digest) => format!("{}@{digest}", reference.repository),
        None => name.clone(),
    };
    ImageRef::new(here)
        .map_err(|_| unavailable(image, "the registry tells a digest that cannot be read"))
}

fn pull_error(
    image: &ImageRef,
    reference: &Reference<'_>,
    error: bollard::errors::Error,
) -> EngineError {
    if status_of(&error).is_none()
        && !matches!(error, bollard::errors::Error::DockerStreamError { .. })
    {
        return engine_error(error);
    }
    let words = words_of(&error);
    if words.contains("no space left on device") {
        return engine_error(error);
    }
    let lower = words.to_lowercase();
    let registry = if reference.host.is_empty() {
        "Docker Hub"
    } else {
        reference.host
    };
    let any = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let reason = if any(&[
        "dial tcp",
        "no such host",
        "connection refused",
        "i/o timeout",
        "timeout exceeded",
        "tls:",
        "x509",
        "eof",
        "network is unreachable",
        "server gave http response",
    ]) {
        format!("it is not here, and the registry {registry} cannot be reached: {words}")
    } else if any(&["unauthorized", "no basic auth", "authentication required"]) {
        format!("the registry {registry} demands a login: {words}")
    } else if any(&["denied"]) {
        format!(
            "the registry {registry} refuses it: it does not exist there, or needs a login: {words}"
        )
    } else if any(&["not found", "manifest unknown", "name unknown"]) {
        format!("there is no such image here or on {registry}")
    } else {
        words
    };
    unavailable(image, &reason)
}

pub(crate) async fn remove(core: &Core, image: &ImageRef) -> Result<(), EngineError> {
    former::hidden(core).await?;
    let docker = core.client.docker().await?;
    let Some(name) = exact(image) else {
        return Ok(());
    };
    let removed = docker
        .remove_image(&name, None::<RemoveImageOptions>, None)
        .await
        .map(|_| ());
    match ignore_missing(removed) {
        // Something uses it: then it stays.
        Err(error) if status_of(&error) == Some(409) => Ok(()),
        other => other.map_err(engine_error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_pinned_by_the_digest_of_the_repository_that_was_asked_for() {
        let found = ImageInspect {
            id: Some("sha256:11".to_owned()),
            repo_digests: Some(vec![
                "debian@sha256:22".to_owned(),
                "127.0.0.1:5000/a/b@sha256:33".to_owned(),
            ]),
            ..ImageInspect::default()
        };
        let pinned = |asked: &str| {
            info(&ImageRef::new(asked).unwrap(), &found)
                .unwrap()
                .pinned
                .to_string()
        };
        assert_eq!(pinned("debian:12"), "debian@sha256:22");
        assert_eq!(
            pinned("127.0.0.1:5000/a/b:7"),
            "127.0.0.1:5000/a/b@sha256:33"
        );
        assert_eq!(pinned("mine:1"), "sha256:11");
        assert_eq!(pinned("sha256:11"), "sha256:11");
    }

    #[test]
    fn a_project_pulls_from_the_platforms_registry_with_its_own_credentials_only() {
        let login = |user: &str| RegistryCredentials {
            user: user.to_owned(),
            password: coracle_model::env::Secret::new("secret"),
        };
        let project = |name: &str| ProjectName::new(name).unwrap();
        let known = KnownCredentials::default();
        let of = |image: &str, project: Option<&ProjectName>| {
            let found = known.of(&Reference::parse(image), project);
            found.map(|login| login.user)
        };
        let pull = PullCredentials {
            host: "127.0.0.1:7070".to_owned(),
            credentials: login("one"),
            others: vec![PullCredentials {
                host: "docker.io".to_owned(),
                credentials: login("hub"),
                others: Vec::new(),
            }],
        };
        known.set(&project("one"), &pull);
        for image in ["127.0.0.1:7070/two/web:1", "example.org/team/app:1"] {
            known.remember(&Reference::parse(image), &login("other"));
        }
        let one = Some(project("one"));
        assert_eq!(of("127.0.0.1:7070/two/web:1", one.as_ref()).unwrap(), "one");
        for of_hub in ["debian:13", "docker.io/library/debian"] {
            assert_eq!(of(of_hub, one.as_ref()).unwrap(), "hub");
            assert!(of(of_hub, None).is_none());
        }
        assert_eq!(of("example.org/team/app:2", one.as_ref()).unwrap(), "other");
        assert_eq!(of("example.org/team/next:2", one.as_ref()), None);
        assert_eq!(of("127.0.0.1:7070/one/web:1", Some(&project("two"))), None);
        known.forget(&project("one"));
        assert_eq!(of("127.0.0.1:7070/one/web:1", one.as_ref()), None);
    }

    #[test]
    fn only_tcp_ports_are_told() {
        let ports = ["53/udp", "8080/tcp", "80/tcp", "80"].map(str::to_owned);
        assert_eq!(exposed(&ports), [80, 8080]);
    }
}
