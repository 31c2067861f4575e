//! Keys of the object store. The layout itself is described in the crate's documentation.

use object_store::path::Path;

use crate::digest::Digest;
use crate::repository::{RepositoryName, Tag};

/// Stands for `/` in a repository's key; no repository name contains it.
const SLASH: &str = "+";
const REPOSITORIES: &str = "repositories";

/// A repository's name as one path part.
pub(crate) fn repository_part(repository: &RepositoryName) -> String {
    repository.as_str().replace('/', SLASH)
}

/// The name that [`repository_part`] was made from.
pub(crate) fn repository_of_part(part: &str) -> Option<RepositoryName> {
    RepositoryName::new(part.replace(SLASH, "/")).ok()
}

pub(crate) fn repositories() -> Path {
    Path::from(REPOSITORIES)
}

pub(crate) fn all_blobs() -> Path {
    Path::from("blobs")
}

pub(crate) fn blob(digest: &Digest) -> Path {
    Path::from(format!(
        "blobs/{}/{}/{}",
        digest.algorithm().as_str(),
        &digest.hex()[..2],
        digest.hex()
    ))
}

fn below(repository: &RepositoryName, rest: &str) -> Path {
    Path::from(format!(
        "{REPOSITORIES}/{}/{rest}",
        repository_part(repository)
    ))
}

/// The digest that [`blob`] was made from: the algorithm, two digits, all digits.
pub(crate) fn digest_of_blob(key: &Path) -> Option<Digest> {
    let parts: Vec<_> = key.parts().collect();
    let [.., algorithm, _, hex] = parts.as_slice() else {
        return None;
    };
    format!("{}:{}", algorithm.as_ref(), hex.as_ref())
        .parse()
        .ok()
}

/// All that a repository consists of, in the order in which it can be taken away.
pub(crate) fn repository_parts(repository: &RepositoryName) -> [Path; 4] {
    ["tags", "manifests", "referrers", "blobs"].map(|part| below(repository, part))
}

pub(crate) fn blob_link(repository: &RepositoryName, digest: &Digest) -> Path {
    below(
        repository,
        &format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex()),
    )
}

pub(crate) fn blob_links(repository: &RepositoryName) -> Path {
    below(repository, "blobs")
}

pub(crate) fn manifests(repository: &RepositoryName) -> Path {
    below(repository, "manifests")
}

pub(crate) fn manifest_link(repository: &RepositoryName, digest: &Digest) -> Path {
    below(
        repository,
        &format!("manifests/{}/{}", digest.algorithm().as_str(), digest.hex()),
    )
}

/// The digest that [`manifest_link`] was made from: the last two parts of the key.
pub(crate) fn digest_of_link(key: &Path) -> Option<Digest> {
    let parts: Vec<_> = key.parts().collect();
    let [.., algorithm, hex] = parts.as_slice() else {
        return None;
    };
    format!("{}:{}", algorithm.as_ref(), hex.as_ref())
        .parse()
        .ok()
}

pub(crate) fn tags(repository: &RepositoryName) -> Path {
    below(repository, "tags")
}

pub(crate) fn tag(repository: &RepositoryName, tag: &Tag) -> Path {
    below(repository, &format!("tags/{tag}"))
}

pub(crate) fn referrers(repository: &RepositoryName, subject: &Digest) -> Path {
    below(
        repository,
        &format!(
            "referrers/{}/{}",
            subject.algorithm().as_str(),
            subject.hex()
        ),
    )
}

pub(crate) fn all_referrers(repository: &RepositoryName) -> Path {
    below(repository, "referrers")
}

/// The manifest whose descriptor [`referrer`] is.
pub(crate) fn digest_of_referrer(key: &Path) -> Option<Digest> {
    let (algorithm, hex) = key.filename()?.split_once('-')?;
    format!("{algorithm}:{hex}").parse().ok()
}

pub(crate) fn referrer(repository: &RepositoryName, subject: &Digest, from: &Digest) -> Path {
    let rest = format!(
        "referrers/{}/{}/{}-{}",
        subject.algorithm().as_str(),
        subject.hex(),
        from.algorithm().as_str(),
        from.hex()
    );
    below(repository, &rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_the_documentation_says() {
        let repository = RepositoryName::new("default/hello").unwrap();
        let digest = Digest::of(b"");
        let hex = digest.hex();
        assert_eq!(blob(&digest).as_ref(), format!("blobs/sha256/e3/{hex}"));
        let link = manifest_link(&repository, &digest);
        assert_eq!(
            link.as_ref(),
            format!("repositories/default+hello/manifests/sha256/{hex}")
        );
        assert_eq!(digest_of_link(&link), Some(digest.clone()));
        assert_eq!(digest_of_blob(&blob(&digest)), Some(digest.clone()));
        let about = referrer(&repository, &Digest::of(b"x"), &digest);
        assert_eq!(digest_of_referrer(&about), Some(digest));
        assert_eq!(
            repository_of_part(&repository_part(&repository)),
            Some(repository)
        );
    }
}
