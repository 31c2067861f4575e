//! References to images, in their parts and as the daemon is asked for them. Pure.

use coracle_model::name::ImageRef;

/// A reference in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// The registry; empty for Docker Hub.
    pub(crate) host: &'a str,
    /// Registry and path, as it was written.
    pub(crate) repository: &'a str,
    pub(crate) tag: Option<&'a str>,
    pub(crate) digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (repository, tag) = match rest[slash..].find(':') {
            Some(at) => (&rest[..slash + at], Some(&rest[slash + at + 1..])),
            None => (rest, None),
        };
        let host = match repository.split_once('/') {
            Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
            _ => "",
        };
        Self {
            host,
            repository,
            tag,
            digest,
        }
    }

    /// Registry and path without what Docker leaves out in its own records.
    pub(crate) fn familiar(&self) -> &'a str {
        let rest = self
            .repository
            .strip_prefix("docker.io/")
            .unwrap_or(self.repository);
        rest.strip_prefix("library/").unwrap_or(rest)
    }
}

/// Is it the id of a local image?
pub(crate) fn is_id(image: &ImageRef) -> bool {
    image.as_str().starts_with("sha256:")
}

/// How the daemon is asked for an image, if it can be asked. It takes a few letters for an image whose id begins with
/// them, whoever's that is: so a name says that it is one by its tag, and an id must be whole.
pub(crate) fn exact(image: &ImageRef) -> Option<String> {
    let reference = Reference::parse(image.as_str());
    if is_id(image) {
        let hex = image.as_str().split_once(':').map_or("", |(_, hex)| hex);
        let whole = hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit());
        return whole.then(|| image.to_string());
    }
    Some(match (reference.tag, reference.digest) {
        (None, None) => format!("{image}:latest"),
        _ => image.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        let r = Reference::parse("127.0.0.1:7070/default/hello:v1@sha256:ab");
        assert_eq!(
            (r.host, r.repository, r.tag, r.digest),
            (
                "127.0.0.1:7070",
                "127.0.0.1:7070/default/hello",
                Some("v1"),
                Some("sha256:ab")
            )
        );
        let r = Reference::parse("debian:12");
        assert_eq!((r.host, r.repository, r.tag), ("", "debian", Some("12")));
        assert_eq!(
            Reference::parse("docker.io/library/debian").familiar(),
            "debian"
        );
        assert_eq!(Reference::parse("team/app").host, "");
    }

    #[test]
    fn no_image_is_named_by_the_beginning_of_its_id() {
        let id = format!("sha256:{}", "a1".repeat(32));
        for (asked, exact_name) in [
            ("debian", Some("debian:latest")),
            ("a1b2", Some("a1b2:latest")),
            (&id[7..], Some(&*format!("{}:latest", &id[7..]))),
            ("debian:12", Some("debian:12")),
            ("127.0.0.1:5000/a/b", Some("127.0.0.1:5000/a/b:latest")),
            ("a/b@sha256:00", Some("a/b@sha256:00")),
            (&id, Some(&*id)),
            (&id[..20], None),
            ("sha256:latest", None),
        ] {
            let image = ImageRef::new(asked).unwrap();
            assert_eq!(exact(&image).as_deref(), exact_name, "{asked}");
        }
    }
}
