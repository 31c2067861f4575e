//! How images are named.
//!
//! Theory of operation: the platform's own registry has several names: one of its own, under which releases keep their
//! images, one that a cluster's nodes use, those of proxies before it. People type whatever they pushed to, so every name is
//! taken, and turned into the first. A project runs images of its own part of the registry only: what its nodes pull with
//! opens no other part, and else whoever may deploy in one project could read the images of all.
//!
//! An engine may keep what it built under the name it was pushed by, in a store that the builds of all projects use and
//! that asks nobody who they are: Docker does. So a build is pushed under a tag that nobody can foresee, and the registry,
//! which does ask, has the image under the build's own name afterwards. It has both names until the store says that the build
//! succeeded: a control plane that was killed before finds by the first that nothing is left to build.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use coracle_model::build::Build;
use coracle_model::name::{AppName, ImageRef, InvalidName, ProjectName};
use coracle_model::plan::builds::BuildId;

use crate::control::Control;
use crate::error::OperationError;
use crate::settings::Settings;

/// The tag that a build pushes: its name, and 128 random bits that only its project's members can read.
#[must_use]
pub fn pushed_tag(build: &Build) -> String {
    format!("b{}-{}", build.spec.number, build.metadata.uid)
}

/// Is it a tag that a build pushes?
#[must_use]
pub fn is_pushed_tag(tag: &str) -> bool {
    const UID: usize = 32;
    let parts = tag.strip_prefix('b').and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(number, uid)| {
        !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
            && uid.len() == UID
            && uid.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

/// Where a build pushes, under the tag that [`pushed_tag`] told.
pub(crate) fn pushed_at<'a>(build: &'a BuildId, tag: &'a str) -> PushedTag<'a> {
    PushedTag {
        project: &build.project,
        app: &build.app,
        tag,
    }
}

/// Where a build pushes its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushedTag<'a> {
    /// The project of its app.
    pub project: &'a ProjectName,
    /// Its app.
    pub app: &'a AppName,
    /// The tag, as [`pushed_tag`] tells it.
    pub tag: &'a str,
}

/// The image of a build, as it was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushedImage<'a> {
    /// Where.
    pub at: PushedTag<'a>,
    /// Of its manifest, such as `sha256:…`.
    pub digest: &'a str,
}

/// An image of the platform's own registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedImage {
    /// Where it is, such as `default/hello`.
    pub repository: String,
    /// Which one it is there.
    pub reference: Pointer,
}

/// Which image of a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pointer {
    /// That with this digest.
    Digest(String),
    /// What this tag means.
    Tag(String),
}

impl NamedImage {
    /// From a name without its host, such as `default/hello:v1`. A digest says more than a tag beside it.
    fn parse(path: &str) -> Self {
        let (named, digest) = match path.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (path, None),
        };
        let (repository, tag) = named.rsplit_once(':').unwrap_or((named, "latest"));
        Self {
            repository: repository.to_owned(),
            reference: match digest {
                Some(digest) => Pointer::Digest(digest.to_owned()),
                None => Pointer::Tag(tag.to_owned()),
            },
        }
    }
}

/// What a collection of the registry removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Images that nothing needed.
    pub images: u64,
    /// Bytes that were freed.
    pub bytes: u64,
    /// Repositories that keep all they have, because something in them cannot be read.
    pub damaged: Vec<String>,
}

/// Says which images are needed although no tag means them.
#[async_trait]
pub trait Needed: Send + Sync {
    /// All of them, also ones that are not there.
    ///
    /// # Errors
    /// When the store fails: then nothing is collected.
    async fn needed(&self) -> Result<Vec<NamedImage>, OperationError>;
}

#[async_trait]
impl Needed for Control {
    async fn needed(&self) -> Result<Vec<NamedImage>, OperationError> {
        let uses = self.image_uses(None).await?;
        Ok(uses.into_iter().map(|named| named.image).collect())
    }
}

/// What was asked of an image's tags was not done.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// There is no such image, and there will not be one.
    #[error("the registry does not have it")]
    Absent(#[source] Box<dyn Error + Send + Sync>),
    /// The registry failed, and may be well again in a moment.
    #[error("the registry does not give it its tag")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

/// The tags of the platform's own registry.
#[async_trait]
pub trait ImageTags: Send + Sync {
    /// Gives the image of a build the tag `tag` beside the one that it was pushed under. What was done before is no error.
    ///
    /// # Errors
    /// [`TagError`].
    async fn publish(&self, pushed: PushedImage<'_>, tag: &str) -> Result<(), TagError>;

    /// Takes away the tag that a build pushed under, which is over; where `digest` is known only if the tag means that. The
    /// image stays. What was done before is no error.
    ///
    /// # Errors
    /// [`TagError::Failed`].
    async fn withdraw(&self, pushed: PushedTag<'_>, digest: Option<&str>) -> Result<(), TagError>;

    /// Keeps an image from being collected until the record is written that needs it.
    ///
    /// # Errors
    /// [`TagError`].
    async fn keep(&self, image: &NamedImage) -> Result<(), TagError>;

    /// Removes what nothing needs and what is older than `min_age`. `needed` is asked once the registry watches what is relied
    /// on from then on.
    ///
    /// # Errors
    /// In words for people; what was removed before stays removed.
    async fn collect(
        &self,
        needed: &dyn Needed,
        min_age: Duration,
    ) -> Result<Collected, Box<dyn Error + Send + Sync>>;

    /// Removes everything that a project has in the registry.
    ///
    /// # Errors
    /// [`TagError::Failed`].
    async fn remove_project(&self, project: &ProjectName) -> Result<(), TagError>;
}

/// Is it the id of an image in one engine's own store (`sha256:…`)? No other machine can find it.
pub(crate) fn is_engine_id(image: &ImageRef) -> bool {
    image.as_str().starts_with("sha256:")
}

/// Fails for an image in `field` that only one machine's engine can find: a release runs on any node.
///
/// # Errors
/// [`OperationError::Invalid`].
pub fn check_findable(field: &'static str, image: &ImageRef) -> Result<(), OperationError> {
    if is_engine_id(image) {
        return Err(OperationError::invalid(
            field,
            format!(
                "{image} is the id of an image in one machine's engine, which no other machine can find: name it as NAME:TAG or REGISTRY/PATH@sha256:…"
            ),
        ));
    }
    Ok(())
}

impl Settings {
    /// Where a build is pushed to.
    ///
    /// # Errors
    /// When the registry's host is no part of an image reference.
    pub fn build_image(
        &self,
        project: &ProjectName,
        build: &Build,
    ) -> Result<ImageRef, InvalidName> {
        let (app, tag) = (&build.spec.app, pushed_tag(build));
        ImageRef::new(format!("{}/{project}/{app}:{tag}", self.registry_host))
    }

    /// What an image is called in the platform's own registry, `PROJECT/APP:TAG`, if it is one. `reached` is the name by which
    /// whoever asks reached the API: the registry is there too.
    #[must_use]
    pub fn in_registry<'a>(&self, image: &'a ImageRef, reached: Option<&str>) -> Option<&'a str> {
        let (host, path) = image.as_str().split_once('/')?;
        let own = host == self.registry_host
            || Some(host) == reached
            || self.registry_names.iter().any(|name| name == host);
        own.then_some(path)
    }

    /// What an image of the platform's own registry is called there; `None` for any other.
    #[must_use]
    pub fn named(&self, image: &ImageRef) -> Option<NamedImage> {
        self.in_registry(image, None).map(NamedImage::parse)
    }

    /// What an image would be called in the platform's own registry, whatever the host before it. The registry's names change
    /// with how the platform is started, and releases keep the name that it had: who asks what is still needed counts
    /// rather too much than too little.
    #[must_use]
    pub fn named_anywhere(image: &ImageRef) -> Option<NamedImage> {
        let (host, path) = image.as_str().split_once('/')?;
        let is_host = host.contains(['.', ':']) || host == "localhost";
        is_host.then(|| NamedImage::parse(path))
    }

    /// Does a repository stand in for a public one? Everybody's builds begin with these, so administrators write them.
    #[must_use]
    pub fn is_base_image(&self, repository: &str) -> bool {
        let rest = |path: &String| repository.strip_prefix(path.as_str());
        let rest = self.base_images.as_ref().and_then(rest);
        rest.is_some_and(|rest| rest.starts_with('/'))
    }

    /// The name under which an image is kept that somebody asked for in `field`.
    ///
    /// # Errors
    /// [`OperationError::Invalid`] for an image of another project.
    pub fn named_image(
        &self,
        project: &ProjectName,
        field: &'static str,
        image: &ImageRef,
        reached: Option<&str>,
    ) -> Result<ImageRef, OperationError> {
        let Some(path) = self.in_registry(image, reached) else {
            return Ok(image.clone());
        };
        let of_project = path
            .split_once('/')
            .filter(|(first, rest)| *first == project.as_str() && !rest.is_empty());
        if of_project.is_none() {
            let name = path.rsplit('/').next().unwrap_or(path);
            let name = name.split('@').next().unwrap_or(name);
            let host = image.as_str().split('/').next().unwrap_or_default();
            return Err(OperationError::invalid(
                field,
                format!(
                    "project {project} runs images of its own part of the registry only, and {image} is not there: push it as {host}/{project}/{name}"
                ),
            ));
        }
        Ok(ImageRef::new(format!("{}/{path}", self.registry_host))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Limits;
    use coracle_engine::build::RegistryCredentials;
    use coracle_model::env::Secret;
    use coracle_model::name::Hostname;

    fn settings() -> Settings {
        Settings {
            data_dir: "/nowhere".into(),
            shared_dir: "/nowhere".into(),
            domain: Hostname::new("localhost").unwrap(),
            http_port: 8080,
            registry_host: "127.0.0.1:7070".to_owned(),
            registry_names: vec!["127.0.0.1:30070".to_owned()],
            base_images: Some("base".to_owned()),
            registry_credentials: RegistryCredentials {
                user: "u".to_owned(),
                password: Secret::new("p"),
            },
            limits: Limits::default(),
        }
    }

    fn named(image: &str) -> Result<String, String> {
        let shop = ProjectName::new("shop").unwrap();
        let image = ImageRef::new(image).unwrap();
        let named = settings().named_image(&shop, "image", &image, Some("paas.example.org"));
        named
            .map(|image| image.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_tag_of_a_build_is_known() {
        assert!(is_pushed_tag(&format!("b12-{}", "0a".repeat(16))));
        for other in ["b12", "b12-0a", "latest", "b-00", &"b1-".repeat(12)] {
            assert!(!is_pushed_tag(other), "{other}");
        }
    }

    #[test]
    fn every_name_of_the_registry_means_the_same() {
        for host in ["127.0.0.1:7070", "127.0.0.1:30070", "paas.example.org"] {
            let own = named(&format!("{host}/shop/till:v1")).unwrap();
            assert_eq!(own, "127.0.0.1:7070/shop/till:v1");
        }
        for other in [
            "nginx:1.27",
            "shop/till:v1",
            "example.org/shop/till@sha256:00",
        ] {
            assert_eq!(named(other).unwrap(), other);
        }
    }

    #[test]
    fn the_id_of_an_image_in_an_engine_is_no_image_to_release() {
        let id = format!("sha256:{}", "a".repeat(64));
        let check = |image: &str| check_findable("image", &ImageRef::new(image).unwrap());
        for own in [id.as_str(), "sha256:abcdef"] {
            let told = check(own).unwrap_err();
            assert!(
                matches!(&told, OperationError::Invalid { field, .. } if field == "image"),
                "{told}"
            );
        }
        for other in [
            format!("shop@{id}"),
            "sha256".to_owned(),
            "shop:1".to_owned(),
        ] {
            assert!(check(&other).is_ok(), "{other}");
        }
    }

    #[test]
    fn an_image_of_the_registry_is_known_behind_its_host() {
        let named = |image: &str| settings().named(&ImageRef::new(image).unwrap());
        let digest = format!("sha256:{}", "a".repeat(64));
        let at = |reference| {
            let repository = "shop/till".to_owned();
            Some(NamedImage {
                repository,
                reference,
            })
        };
        for host in ["127.0.0.1:7070", "127.0.0.1:30070"] {
            let tag = |tag: &str| at(Pointer::Tag(tag.to_owned()));
            assert_eq!(named(&format!("{host}/shop/till:v1")), tag("v1"));
            assert_eq!(named(&format!("{host}/shop/till")), tag("latest"));
            for by_digest in ["shop/till", "shop/till:v1"] {
                let found = named(&format!("{host}/{by_digest}@{digest}"));
                assert_eq!(found, at(Pointer::Digest(digest.clone())));
            }
        }
        assert_eq!(named("nginx:1.27"), None);
        assert_eq!(named(&digest), None);
    }

    #[test]
    fn an_image_is_known_by_its_path_under_a_name_that_the_registry_had_once() {
        let anywhere = |image: &str| {
            let named = Settings::named_anywhere(&ImageRef::new(image).unwrap());
            named.map(|named| named.repository)
        };
        for host in ["127.0.0.1:1", "localhost", "paas.example.org", "[::1]:7070"] {
            let image = format!("{host}/shop/till@sha256:{}", "a".repeat(64));
            if ImageRef::new(image.as_str()).is_ok() {
                assert_eq!(anywhere(&image).as_deref(), Some("shop/till"), "{image}");
            }
        }
        for other in ["nginx:1.27", "shop/till:v1", "sha256:abcdef"] {
            assert_eq!(anywhere(other), None, "{other}");
        }
    }

    #[test]
    fn base_images_are_what_is_below_their_path() {
        let settings = settings();
        assert!(settings.is_base_image("base/library/debian"));
        for other in ["base", "bases/debian", "shop/base/debian"] {
            assert!(!settings.is_base_image(other), "{other}");
        }
    }

    #[test]
    fn an_image_of_another_project_is_refused_with_what_to_do() {
        for other in [
            "bank/vault:1",
            "bank/shop/vault:1",
            "vault:1",
            "shops/vault:1",
        ] {
            let refused = named(&format!("127.0.0.1:30070/{other}")).unwrap_err();
            assert!(
                refused.contains("push it as 127.0.0.1:30070/shop/vault:1"),
                "{refused}"
            );
        }
    }
}
