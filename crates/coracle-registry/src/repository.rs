//! Repository names, tags and references, parsed by the grammar of the distribution specification.
//!
//! Theory of operation: see the storage layout in the crate's documentation; these types are the only way for a
//! name from outside into a key.

use std::fmt;
use std::str::FromStr;

use coracle_model::name::{AppName, ProjectName};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Longest repository name in bytes. As one directory's name it must fit a file system's limit too.
const NAME_MOST: usize = 255;
/// Longest tag in bytes (distribution specification).
const TAG_MOST: usize = 128;

/// A text that is not a repository name, tag or reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {shown}: {rule}")]
pub struct InvalidReference {
    /// What it should have been.
    pub what: &'static str,
    /// What was given, shortened and escaped.
    pub shown: String,
    /// What is allowed.
    pub rule: &'static str,
}

/// A repository such as `default/hello`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName(String);

impl RepositoryName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`InvalidReference`] says what is allowed.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidReference> {
        let name = name.into();
        if name.len() <= NAME_MOST && name.split('/').all(is_component) {
            return Ok(Self(name));
        }
        Err(InvalidReference {
            what: "repository name",
            shown: coracle_model::name::shown(&name),
            rule: "use up to 255 lower-case letters and digits, separated by single '.', '_' or '/', by '__', or by hyphens",
        })
    }

    /// The repository of an app's images, `PROJECT/APP`.
    #[must_use]
    pub fn for_app(project: &ProjectName, app: &AppName) -> Self {
        // Both grammars are narrower than this one; a test proves it.
        Self(format!("{project}/{app}"))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part in front of the first `/`: on the platform, the project.
    #[must_use]
    pub fn first_component(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    component
        .split(|c: char| c.is_ascii() && alphanumeric(&(c as u8)))
        .filter(|separator| !separator.is_empty())
        .all(|separator| {
            matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

/// A tag such as `latest`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

impl Tag {
    /// Parses a tag.
    ///
    /// # Errors
    /// [`InvalidReference`] says what is allowed.
    pub fn new(tag: impl Into<String>) -> Result<Self, InvalidReference> {
        let tag = tag.into();
        let bytes = tag.as_bytes();
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let ok = bytes.len() <= TAG_MOST
            && bytes.first().is_some_and(|b| word(*b))
            && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'));
        if ok {
            return Ok(Self(tag));
        }
        Err(InvalidReference {
            what: "tag",
            shown: coracle_model::name::shown(&tag),
            rule: "use up to 128 letters, digits, '_', '.' and '-', not beginning with '.' or '-'",
        })
    }

    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a manifest is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// By what a tag means now.
    Tag(Tag),
    /// By its content.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        // A tag has no colon, so the two grammars do not overlap.
        if s.contains(':') {
            return s.parse().map(Self::Digest).map_err(|_| InvalidReference {
                what: "digest",
                shown: coracle_model::name::shown(s),
                rule: "use sha256: or sha512: and lower-case hexadecimal digits",
            });
        }
        Tag::new(s).map(Self::Tag)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

macro_rules! text_type {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = InvalidReference;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Self::new(s)
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidReference;
            fn try_from(s: String) -> Result<Self, Self::Error> {
                Self::new(s)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

text_type!(RepositoryName);
text_type!(Tag);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repository_grammar() {
        for good in [
            "a",
            "a/b",
            "default/hello",
            "a.b",
            "a_b",
            "a__b",
            "a---b",
            "0/1",
            "a/blobs/uploads",
            "_x".trim_start_matches('_'),
        ] {
            assert!(RepositoryName::new(good).is_ok(), "{good}");
        }
        assert!(RepositoryName::new("a".repeat(255)).is_ok());
        let long = "a".repeat(256);
        for bad in [
            "", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a._b", "-a", "a-", ".", "..",
            "../a", "a/../b", "a/.", "_a", "a b", "a\0", "a\n", "а", "a+b", "a%2fb", "a\\b", &long,
        ] {
            assert!(RepositoryName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn tag_grammar() {
        for good in ["a", "latest", "V1.0-rc_1", "_", "1"] {
            assert!(Tag::new(good).is_ok(), "{good}");
        }
        let long = "a".repeat(129);
        for bad in [
            "", ".", "..", ".a", "-a", "a/b", "a:b", "a b", "é", "a\n", "a#1", "a+b", &long,
        ] {
            assert!(Tag::new(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_app_has_a_repository(project in "[a-z]([a-z0-9-]{0,28}[a-z0-9])?", app in "[a-z]([a-z0-9-]{0,28}[a-z0-9])?") {
            let name = RepositoryName::for_app(&ProjectName::new(project).unwrap(), &AppName::new(app).unwrap());
            prop_assert!(RepositoryName::new(name.as_str()).is_ok());
        }

        #[test]
        fn accepted_names_never_leave_their_folder(s in "[a-z./_+-]{0,20}") {
            if let Ok(name) = RepositoryName::new(s) {
                prop_assert!(!name.as_str().contains("..") && !name.as_str().contains('+'));
                prop_assert!(!name.as_str().starts_with('/') && !name.as_str().contains("//"));
            }
        }
    }
}
