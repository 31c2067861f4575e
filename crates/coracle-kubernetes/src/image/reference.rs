//! References of images in their parts.

/// A reference in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) host: &'a str,
    pub(super) path: String,
    /// A tag or a digest.
    pub(super) version: &'a str,
    /// Host and path as they were written.
    pub(super) written: &'a str,
}

pub(super) fn parts(image: &str) -> Parts<'_> {
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (written, tag) = match rest[slash..].find(':') {
        Some(colon) => (&rest[..slash + colon], Some(&rest[slash + colon + 1..])),
        None => (rest, None),
    };
    let version = digest.or(tag).unwrap_or("latest");
    let (host, path) = match written.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
            (host, path.to_owned())
        }
        Some(_) => ("registry-1.docker.io", written.to_owned()),
        None => ("registry-1.docker.io", format!("library/{written}")),
    };
    Parts {
        host,
        path,
        version,
        written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        let is = |image: &str, host: &str, path: &str, version: &str| {
            let parts = parts(image);
            assert_eq!(
                (parts.host, parts.path.as_str(), parts.version),
                (host, path, version)
            );
        };
        is("nginx", "registry-1.docker.io", "library/nginx", "latest");
        is("a/b:1", "registry-1.docker.io", "a/b", "1");
        is(
            "127.0.0.1:7070/default/app:3",
            "127.0.0.1:7070",
            "default/app",
            "3",
        );
        is("ghcr.io/a/b@sha256:00", "ghcr.io", "a/b", "sha256:00");
        is("r:5000/a:1@sha256:00", "r:5000", "a", "sha256:00");
    }
}
