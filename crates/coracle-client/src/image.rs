//! Images in the registry, and its collection.

use coracle_model::image::{ImageDetail, ImageTag, Repository};
use coracle_model::object::Kind;
use coracle_model::quantity::Span;
use coracle_model::registry::{CollectionPhase, CollectionStatus, RegistryState};
use futures::StreamExt as _;
use http::Method;

use crate::Result;
use crate::client::Client;
use crate::events::{AnyObject, Change, EventQuery};

/// May an image go that releases can be rolled back to?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// Yes, and there is no way back to them.
    Lose,
    /// No: that is an error.
    Keep,
}

impl Client {
    /// The repositories that the caller may see.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn images(&self) -> Result<Vec<Repository>> {
        self.all("/images").await
    }

    /// The tags of a repository, such as `default/hello`, and its images without one.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn image_tags(&self, repository: &str) -> Result<Vec<ImageTag>> {
        self.all(&format!("/images/{}", segment(repository))).await
    }

    /// An image, by a tag or a digest.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn image(&self, repository: &str, reference: &str) -> Result<ImageDetail> {
        let query = [("repository", repository), ("reference", reference)];
        let request = self.request(Method::GET, "/image").query(&query);
        self.ordinary(request).await
    }

    /// Deletes a tag, or an image by its digest with all its tags.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn delete_image(
        &self,
        repository: &str,
        reference: &str,
        earlier: Earlier,
    ) -> Result<()> {
        let force = match earlier {
            Earlier::Lose => "true",
            Earlier::Keep => "false",
        };
        let query = [
            ("repository", repository),
            ("reference", reference),
            ("force", force),
        ];
        let request = self.request(Method::DELETE, "/image").query(&query);
        self.unanswered(request).await
    }

    /// How much the registry holds, and how its collection is.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn registry(&self) -> Result<RegistryState> {
        self.get("/registry").await
    }

    /// Collects what nothing needs and what is older than `min_age`, and waits for the end of it.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn collect_images(&self, min_age: Option<Span>) -> Result<CollectionStatus> {
        let query = EventQuery {
            kinds: vec![Kind::Registry],
            ..EventQuery::default()
        };
        let mut changes = self.events(&query).await?;
        // From here on no change is missed.
        while let Some(change) = changes.next().await {
            if matches!(change?, Change::Synced) {
                break;
            }
        }
        let age = min_age.map(|age| ("min_age", age.to_string()));
        let request = self.request(Method::POST, "/registry/collect");
        let request = request.query(age.as_slice());
        let _asked: RegistryState = self.ordinary(request).await?;
        while let Some(change) = changes.next().await {
            if let Change::Applied(AnyObject::Registry(registry)) = change?
                && registry.status.phase != CollectionPhase::Running
            {
                return Ok(registry.status);
            }
        }
        Err(self.interrupted())
    }
}

/// `text` as one segment of a path, whatever is in it.
fn segment(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            encoded.push(char::from(byte));
        } else if byte == b'.' && text.bytes().any(|b| b != b'.') {
            encoded.push('.');
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn a_repository_is_one_segment() {
        assert_eq!(segment("default/hello"), "default%2Fhello");
        assert_eq!(segment("a.b-c_1"), "a.b-c_1");
        assert_eq!(segment("?x#y é%"), "%3Fx%23y%20%C3%A9%25");
    }
}
