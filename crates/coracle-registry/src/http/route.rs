//! Paths below `/v2/`, parsed from their end because a repository's name can have any number of parts. Pure.

use std::borrow::Cow;

use http::Method;

use crate::access::Action;
use crate::error::RegistryError;
use crate::repository::RepositoryName;

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Base,
    Catalog,
    Repository(RepositoryName, Resource),
}

/// What of a repository. The texts are parsed by the handlers, after the authorizer was asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Tags,
    Manifest(String),
    Blob(String),
    Uploads,
    Upload(String),
    Referrers(String),
}

impl Resource {
    pub(super) fn action(&self, method: &Method) -> Action<'_> {
        let writing = match self {
            Self::Tags => return Action::List,
            Self::Referrers(_) => return Action::Pull,
            Self::Uploads | Self::Upload(_) => return Action::Push,
            Self::Manifest(reference) => Action::PutManifest(reference),
            Self::Blob(_) => Action::Push,
        };
        match *method {
            Method::DELETE => Action::Delete,
            Method::GET | Method::HEAD => Action::Pull,
            _ => writing,
        }
    }
}

pub(super) fn parse(path: &str) -> Result<Route, RegistryError> {
    let rest = path.strip_prefix("/v2").ok_or(RegistryError::NoRoute)?;
    if matches!(rest, "" | "/") {
        return Ok(Route::Base);
    }
    // Split first, decode then: an encoded slash is a bad character in a part, never a new part.
    let parts = rest
        .strip_prefix('/')
        .ok_or(RegistryError::NoRoute)?
        .split('/')
        .map(decode)
        .collect::<Option<Vec<_>>>()
        .ok_or(RegistryError::NoRoute)?;
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    let (name, resource) = match parts.as_slice() {
        ["_catalog"] => return Ok(Route::Catalog),
        [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
            (name, Resource::Uploads)
        }
        [name @ .., "blobs", "uploads", id] => (name, Resource::Upload((*id).to_owned())),
        [name @ .., "blobs", digest] => (name, Resource::Blob((*digest).to_owned())),
        [name @ .., "manifests", reference] => (name, Resource::Manifest((*reference).to_owned())),
        [name @ .., "tags", "list"] => (name, Resource::Tags),
        [name @ .., "referrers", digest] => (name, Resource::Referrers((*digest).to_owned())),
        _ => return Err(RegistryError::NoRoute),
    };
    if let Some(part) = name.iter().find(|part| part.contains('/')) {
        return Err(RepositoryName::new(format!("/{part}"))
            .err()
            .map_or(RegistryError::NoRoute, Into::into));
    }
    Ok(Route::Repository(
        RepositoryName::new(name.join("/"))?,
        resource,
    ))
}

/// Percent-decoding of one part.
fn decode(part: &str) -> Option<Cow<'_, str>> {
    if !part.contains('%') {
        return Some(Cow::Borrowed(part));
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let mut byte = [0];
        hex::decode_to_slice(rest.get(..2)?, &mut byte).ok()?;
        bytes.push(byte[0]);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn repository(path: &str) -> (String, Resource) {
        match parse(path) {
            Ok(Route::Repository(name, resource)) => (name.to_string(), resource),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn paths() {
        assert_eq!(parse("/v2").unwrap(), Route::Base);
        assert_eq!(parse("/v2/").unwrap(), Route::Base);
        assert_eq!(parse("/v2/_catalog").unwrap(), Route::Catalog);
        assert_eq!(repository("/v2/a/tags/list"), ("a".into(), Resource::Tags));
        assert_eq!(
            repository("/v2/a/b/manifests/latest"),
            ("a/b".into(), Resource::Manifest("latest".into()))
        );
        assert_eq!(
            repository("/v2/a/blobs/uploads/"),
            ("a".into(), Resource::Uploads)
        );
        assert_eq!(
            repository("/v2/a/blobs/uploads"),
            ("a".into(), Resource::Uploads)
        );
        assert_eq!(
            repository("/v2/a/blobs/uploads/x"),
            ("a".into(), Resource::Upload("x".into()))
        );
        assert_eq!(
            repository("/v2/a/blobs/sha256%3Aab"),
            ("a".into(), Resource::Blob("sha256:ab".into()))
        );
        // A repository may be called like a part of a path.
        assert_eq!(
            repository("/v2/blobs/uploads/tags/list"),
            ("blobs/uploads".into(), Resource::Tags)
        );
        assert_eq!(
            repository("/v2/tags/list/tags/list"),
            ("tags/list".into(), Resource::Tags)
        );
    }

    #[test]
    fn hostile_paths_are_no_routes_or_bad_names() {
        for bad in [
            "/v2//manifests/x",
            "/v2/manifests/x",
            "/v2/../manifests/x",
            "/v2/a/../b/manifests/x",
            "/v2/a/%2e%2e/b/manifests/x",
            "/v2/a%2fb/manifests/x",
            "/v2/a%00/manifests/x",
            "/v2/A/manifests/x",
            "/v2/a%zz/manifests/x",
            "/v2/a%2/manifests/x",
            "/v2/a%ff/manifests/x",
            "/v2/a",
            "/v2/a/tags",
            "/v2/a/b",
            "/v3/",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_parsed_without_a_fault(path in "/v2/\\PC{0,60}") {
            if let Ok(Route::Repository(name, _)) = parse(&path) {
                prop_assert!(RepositoryName::new(name.as_str()).is_ok());
            }
        }
    }
}
