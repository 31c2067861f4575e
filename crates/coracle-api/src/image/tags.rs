//! The registry, as the platform's own parts use it.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use coracle_control::image::{
    Collected, ImageTags, NamedImage, Needed, Pointer, PushedImage, PushedTag, TagError,
};
use coracle_model::name::ProjectName;
use coracle_registry::{
    Digest, InvalidReference, NeededImages, Reference, Registry, RegistryError, RepositoryName, Tag,
};

/// Repositories that are looked at together.
const PAGE: usize = 500;

/// The platform's registry, for builds, releases and its collection.
#[derive(Debug)]
pub struct BuildTags(
    /// The registry.
    pub Registry,
);

/// An image's name, as the registry has it.
pub(crate) fn parse(image: &NamedImage) -> Result<(RepositoryName, Reference), InvalidReference> {
    let (Pointer::Digest(reference) | Pointer::Tag(reference)) = &image.reference;
    Ok((
        RepositoryName::new(&image.repository)?,
        reference.parse::<Reference>()?,
    ))
}

/// What is needed, in the registry's words.
pub(crate) struct Translated<'a>(pub(crate) &'a dyn Needed);

#[async_trait]
impl NeededImages for Translated<'_> {
    async fn needed(
        &self,
    ) -> Result<Vec<(RepositoryName, Reference)>, Box<dyn Error + Send + Sync>> {
        let needed = self.0.needed().await?;
        // What is no name in the registry is not in it.
        Ok(needed
            .iter()
            .filter_map(|image| parse(image).ok())
            .collect())
    }
}

#[async_trait]
impl ImageTags for BuildTags {
    async fn publish(&self, pushed: PushedImage<'_>, tag: &str) -> Result<(), TagError> {
        let repository = RepositoryName::for_app(pushed.at.project, pushed.at.app);
        let digest: Digest = pushed.digest.parse().map_err(absent)?;
        let tag = Tag::new(tag).map_err(absent)?;
        let put = self.0.put_tag(&repository, &tag, &digest).await;
        put.map_err(failed)
    }

    async fn withdraw(&self, pushed: PushedTag<'_>, digest: Option<&str>) -> Result<(), TagError> {
        let repository = RepositoryName::for_app(pushed.project, pushed.app);
        // No tag is what cannot be one.
        let Ok(tag) = Tag::new(pushed.tag) else {
            return Ok(());
        };
        let withdrawn = async {
            let means = self.0.resolve(&repository, &tag.clone().into()).await?;
            if digest.is_some_and(|digest| means.to_string() != digest) {
                return Ok(());
            }
            self.0.delete_tag(&repository, &tag).await
        };
        match withdrawn.await {
            Ok(()) | Err(RegistryError::ManifestUnknown(_)) => Ok(()),
            Err(error) => Err(TagError::Failed(Box::new(error))),
        }
    }

    async fn keep(&self, image: &NamedImage) -> Result<(), TagError> {
        let (repository, reference) = parse(image).map_err(absent)?;
        let kept = self.0.keep(&repository, &reference).await;
        kept.map(drop).map_err(failed)
    }

    async fn collect(
        &self,
        needed: &dyn Needed,
        min_age: Duration,
    ) -> Result<Collected, Box<dyn Error + Send + Sync>> {
        let collected = self.0.collect(&Translated(needed), min_age).await?;
        Ok(Collected {
            images: collected.manifests,
            bytes: collected.bytes,
            damaged: collected.damaged.iter().map(ToString::to_string).collect(),
        })
    }

    async fn remove_project(&self, project: &ProjectName) -> Result<(), TagError> {
        let removed = async {
            let mut after = None::<String>;
            loop {
                let page = self.0.repositories(after.as_deref(), PAGE).await?;
                for repository in &page.items {
                    let rest = repository.as_str().strip_prefix(project.as_str());
                    if rest.is_some_and(|rest| rest.starts_with('/')) {
                        match self.0.delete_repository(repository).await {
                            Ok(()) | Err(RegistryError::NameUnknown) => {}
                            Err(error) => return Err(error),
                        }
                    }
                }
                match page.items.last().filter(|_| page.more) {
                    Some(last) => after = Some(last.to_string()),
                    None => return Ok(()),
                }
            }
        };
        let removed: Result<(), RegistryError> = removed.await;
        removed.map_err(|error| TagError::Failed(Box::new(error)))
    }
}

fn absent(error: impl Error + Send + Sync + 'static) -> TagError {
    TagError::Absent(Box::new(error))
}

fn failed(error: RegistryError) -> TagError {
    match error {
        RegistryError::ManifestUnknown(_) => absent(error),
        error => TagError::Failed(Box::new(error)),
    }
}
