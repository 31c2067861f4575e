//! Images in the registry.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::client::Client;

/// A repository of the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Its name, such as `default/hello`.
    pub name: String,
    /// What `docker pull` takes, without a tag.
    pub reference: String,
}

/// A tag of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageTag {
    /// The tag.
    pub tag: String,
    /// What `docker pull` takes.
    pub reference: String,
}

impl Client {
    /// The repositories that the caller may see.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn images(&self) -> Result<Vec<Repository>> {
        self.all("/images").await
    }

    /// The tags of a repository, such as `default/hello`.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn image_tags(&self, repository: &str) -> Result<Vec<ImageTag>> {
        self.all(&format!("/images/{}", segment(repository))).await
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
