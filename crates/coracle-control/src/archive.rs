//! The archive that an export is: its records, and the key of its secrets.
//!
//! Theory of operation: an archive is a tar in zstd. It begins with its [`Header`], goes on with the records of projects,
//! users and apps and with the blobs of images, each once, and ends with an [`Index`] of all files, without which it is
//! not whole. Nothing in it belongs to an engine. Secrets leave the platform's own seal and get one made of a passphrase,
//! which also vouches for the index, and so for all of the archive ([`seal`]). The records are a format: fields are added,
//! never renamed, and [`VERSION`] grows when an older reader would get it wrong. The bounds here ([`bounds`]) hold for writing
//! and for reading, so that what was exported can be imported.

pub mod bounds;
#[cfg(test)]
mod complete;
pub mod seal;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use chrono::{DateTime, Utc};
use coracle_builder::{Limits, SourceError, walk};
use coracle_model::env::EnvVars;
use coracle_model::name::{
    AppName, Hostname, ImageRef, ProcessName, ProjectName, UserName, VolumeName, shown,
};
use coracle_model::project::ProjectSpec;
use coracle_model::release::{Release, ReleaseNumber};
use coracle_model::user::UserSpec;
use serde::{Deserialize, Serialize};

use crate::archive::seal::Seal;
use crate::error::OperationError;
use crate::image::is_engine_id;
use crate::release::pinned;

/// What an export calls itself.
pub const FORMAT: &str = "coracle-export";
/// The version that is written, and the newest that is read.
pub const VERSION: u32 = 1;

/// The first file of an export: what it is.
pub const HEADER_FILE: &str = "coracle-export.json";
/// The users, where they were asked for.
pub const USERS_FILE: &str = "users.json";
/// The projects.
pub const PROJECTS_FILE: &str = "projects.json";
/// Folder of the apps: `apps/PROJECT/APP.json`.
pub const APPS_FOLDER: &str = "apps";
/// Folder of images' content: `blobs/ALGORITHM/HEX`.
pub const BLOBS_FOLDER: &str = "blobs";
/// Every file before it with its digest. An export without it is not whole.
pub const INDEX_FILE: &str = "manifest.json";
/// The last file of an export that has a seal: what vouches for the index ([`seal::Seal::sign`]).
pub const SIGNATURE_FILE: &str = "manifest.hmac";

/// The most bytes of the header.
pub const HEADER_BYTES: u64 = 64 << 10;
/// The most bytes of the index.
pub const INDEX_BYTES: u64 = 16 << 20;
/// The most bytes of one record.
pub const RECORD_BYTES: u64 = 8 << 20;
/// The most bytes of all records together: an import has them in memory.
pub const RECORDS_BYTES: u64 = 64 << 20;

/// The most bytes of an archive as it is sent.
pub const ARCHIVE_BYTES: u64 = 64 << 30;

/// What an archive may be. The ratio is that of sources: images are compressed already.
pub const LIMITS: Limits = Limits {
    bytes_compressed: ARCHIVE_BYTES,
    bytes_expanded: 4 * ARCHIVE_BYTES,
    entries: 200_000,
    path_len: 255,
    ratio: 200,
};

/// The most releases of an app that move: with all its host names they fit one write of the store. The newest do.
pub(crate) const MOST_RELEASES: usize = 60;

/// The most bytes of an app's releases, for the same reason.
const MOST_RELEASE_BYTES: usize = 3 << 20;

/// What an export is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// When it was made.
    pub made: DateTime<Utc>,
    /// The version of the platform that made it.
    pub platform: String,
    /// The registry there: images whose references begin with it are in the export.
    pub registry_host: String,
    /// How it is sealed; absent when it has no secrets and nobody vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<SealParameters>,
}

/// How a passphrase becomes the keys of an export (argon2id, RFC 9106).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealParameters {
    /// Random, base64.
    pub salt: String,
    /// Memory in KiB.
    pub memory: u32,
    /// Passes.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// A known text that is sealed with the key of the secrets, so that a wrong passphrase is told at once.
    pub check: String,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRecord {
    /// Its name.
    pub name: ProjectName,
    /// For people.
    pub description: String,
}

impl ProjectRecord {
    pub(crate) fn spec(&self) -> ProjectSpec {
        ProjectSpec {
            description: self.description.clone(),
        }
    }
}

/// A user, without password and tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// The name.
    pub name: UserName,
    /// What they may do.
    pub spec: UserSpec,
}

/// An app with its releases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppRecord {
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub name: AppName,
    /// Pods by process, where it was scaled.
    pub scale: BTreeMap<ProcessName, u32>,
    /// Host names beside its own.
    pub domains: Vec<Hostname>,
    /// Its variables; secret ones sealed with the export's key.
    pub env: EnvVars,
    /// The release that was live.
    pub live: Option<ReleaseNumber>,
    /// The last number given to a release.
    pub last_release: u32,
    /// The last number given to a build.
    pub last_build: u32,
    /// Its releases, the oldest first; secret variables sealed with the export's key.
    pub releases: Vec<Release>,
    /// The images of its releases that were in the registry there.
    pub images: Vec<ImageRecord>,
    /// The volumes that its live release mounts. Their data is not in the export.
    pub volumes: BTreeSet<VolumeName>,
}

/// An image in the registry: what it takes to push it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Its repository, such as `default/hello`.
    pub repository: String,
    /// Its manifests, those that others name first; the last one is what releases name.
    pub manifests: Vec<ManifestRecord>,
    /// Everything else that it is made of.
    pub blobs: Vec<BlobRecord>,
}

/// A manifest of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRecord {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its bytes. JSON, but the digest is of each byte.
    pub content: String,
}

/// A blob of an image. Its content is in the export once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlobRecord {
    /// Its digest.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
}

/// Every file of an export but itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The files, in their order.
    pub files: Vec<IndexedFile>,
}

/// A file of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedFile {
    /// Its path.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of its content, hexadecimal.
    pub sha256: String,
}

/// What an archive says before anything else, in every version.
#[derive(Deserialize)]
struct Format {
    #[serde(default)]
    format: String,
    #[serde(default)]
    version: u32,
}

impl Header {
    /// Reads the first record.
    ///
    /// # Errors
    /// [`OperationError::InvalidSource`] for what is no export, or one of a version that is not known here.
    pub fn parse(json: &[u8]) -> Result<Self, OperationError> {
        let no_export = |_: serde_json::Error| refused("this is no export of Coracle");
        // A newer version may have other fields: what it is comes first.
        let Format { format, version } = serde_json::from_slice(json).map_err(no_export)?;
        if format != FORMAT {
            return Err(refused("this is no export of Coracle"));
        }
        if version == 0 || version > VERSION {
            return Err(refused(format!(
                "the export has version {version} of the format, and this program reads up to version {VERSION}"
            )));
        }
        serde_json::from_slice(json)
            .map_err(|error| refused(format!("{HEADER_FILE} is not as it should be: {error}")))
    }

    /// Reads the header of an archive, and nothing else of it. Blocks.
    ///
    /// # Errors
    /// [`OperationError::InvalidSource`] as [`Header::parse`], or when it cannot be read.
    pub fn read(archive: impl Read) -> Result<Self, OperationError> {
        /// Ends the walk.
        enum Stop {
            Found(Box<Header>),
            Failed(OperationError),
        }
        impl From<SourceError> for Stop {
            fn from(error: SourceError) -> Self {
                Self::Failed(unreadable(error))
            }
        }
        let first = walk(archive, &LIMITS, |file| {
            if file.path != HEADER_FILE {
                return Err(Stop::Failed(refused("this is no export of Coracle")));
            }
            match Self::parse(&file.whole(HEADER_BYTES)?) {
                Ok(header) => Err(Stop::Found(Box::new(header))),
                Err(error) => Err(Stop::Failed(error)),
            }
        });
        match first {
            Err(Stop::Found(header)) => Ok(*header),
            Err(Stop::Failed(error)) => Err(error),
            Ok(()) => Err(refused("the export is empty")),
        }
    }
}

/// The records of an export that was read and checked, with its keys.
#[derive(Debug)]
pub struct Archive {
    /// What it is.
    pub header: Header,
    /// Opens its secrets, and vouched for all of it.
    pub seal: Option<Seal>,
    /// Its projects.
    pub projects: Vec<ProjectRecord>,
    /// Its users.
    pub users: Vec<UserRecord>,
    /// Its apps.
    pub apps: Vec<AppRecord>,
}

impl Archive {
    /// Is the content of `image` in the archive, as an image of `app`?
    pub(crate) fn has_image(&self, app: &AppRecord, image: &ImageRef) -> bool {
        let there = format!("{}/", self.header.registry_host);
        let digest = image
            .as_str()
            .strip_prefix(&there)
            .and_then(|path| path.split_once('@'))
            .map(|(_, digest)| digest);
        digest.is_some_and(|digest| {
            app.images
                .iter()
                .any(|image| image.digest() == Some(digest))
        })
    }
}

impl ImageRecord {
    /// The digest that releases name it by.
    fn digest(&self) -> Option<&str> {
        self.manifests.last().map(|last| last.digest.as_str())
    }
}

impl AppRecord {
    /// The release that was live.
    #[must_use]
    pub fn live(&self) -> Option<&Release> {
        let live = self.live?;
        self.releases
            .iter()
            .find(|release| release.spec.number == live)
    }
}

/// The image that a release runs, as another machine can find it: by digest, or where it was only in an engine's own
/// store, by the name that it was first asked for. `history` are the releases of its app.
#[must_use]
pub(crate) fn portable_image(release: &Release, history: &[Release]) -> ImageRef {
    let image = pinned(release);
    if is_digest(&image) {
        return image;
    }
    let mut known = std::iter::once(release).chain(history);
    let named = known.find(|other| pinned(other) == image && !is_engine_id(&other.spec.image));
    named.map_or(image, |other| other.spec.image.clone())
}

fn is_digest(image: &ImageRef) -> bool {
    image.as_str().contains('@')
}

/// Those of `releases` that move, the oldest first: the one that is live, and the newest that fit with it.
pub(crate) fn that_fit(mut releases: Vec<Release>, live: Option<ReleaseNumber>) -> Vec<Release> {
    let number = |release: &Release| release.spec.number;
    releases
        .sort_by_key(|release| std::cmp::Reverse((Some(number(release)) == live, number(release))));
    let mut bytes = 0;
    let mut kept = Vec::new();
    for release in releases.into_iter().take(MOST_RELEASES) {
        bytes += serde_json::to_vec(&release).map_or(MOST_RELEASE_BYTES, |json| json.len());
        if bytes > MOST_RELEASE_BYTES {
            break;
        }
        kept.push(release);
    }
    kept.sort_by_key(number);
    kept
}

/// An archive that is not taken.
pub(crate) fn refused(reason: impl Into<String>) -> OperationError {
    OperationError::InvalidSource {
        reason: reason.into(),
    }
}

/// Why an archive could not be read, in the words of whoever imports it.
#[must_use]
pub fn unreadable(error: SourceError) -> OperationError {
    match error {
        SourceError::Io(source) => OperationError::Io {
            what: "the export could not be read",
            source,
        },
        SourceError::Empty => refused("the export is empty"),
        SourceError::NotAnArchive => refused("this is no export of Coracle"),
        SourceError::Damaged(how) => {
            refused(format!("the export is damaged or was cut off: {how}"))
        }
        SourceError::TooLarge(limit) => refused(format!("the export is too large: {limit}")),
        SourceError::Refused { entry, why } => refused(format!(
            "the export has an entry {} that none has: {why}",
            shown(&entry)
        )),
        other => refused(format!("the export is not valid: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::new_object;
    use coracle_model::release::{Origin, PinnedImage, ReleaseSpec, RunConfig};

    fn release(number: u32, image: &str, pinned_to: Option<&str>) -> Release {
        let mut release: Release = new_object(
            format!("v{number}"),
            None,
            ReleaseSpec {
                app: "shop".parse().unwrap(),
                number: ReleaseNumber(number),
                image: image.parse().unwrap(),
                config: RunConfig::default(),
                env: EnvVars::new(),
                origin: Origin::Image,
                created_by: "somebody".to_owned(),
            },
        );
        release.status.image = pinned_to.map(|image| PinnedImage {
            reference: image.parse().unwrap(),
            ports: Vec::new(),
        });
        release
    }

    #[test]
    fn an_image_is_named_as_other_machines_can_find_it() {
        let (id, other) = (
            "sha256:".to_owned() + &"a".repeat(64),
            "sha256:".to_owned() + &"b".repeat(64),
        );
        let digest = format!("registry.example.com/shop@{id}");
        let history = [
            release(1, "shop:1", Some(&id)),
            // Set a variable, and went back: both name what an engine has under no name.
            release(2, &id, Some(&id)),
            release(3, &id, None),
            release(4, "registry.example.com/shop:4", Some(&digest)),
            release(5, &other, Some(&other)),
        ];
        let named: Vec<_> = history
            .iter()
            .map(|release| portable_image(release, &history).to_string())
            .collect();
        let expected = ["shop:1", "shop:1", "shop:1", &digest, &other];
        assert_eq!(named, expected);
    }

    #[test]
    fn of_a_long_history_the_newest_moves_and_what_is_live() {
        let all: Vec<_> = (1..=200).map(|n| release(n, "shop:1", None)).collect();
        let kept = that_fit(all.clone(), Some(ReleaseNumber(7)));
        let numbers: Vec<_> = kept.iter().map(|release| release.spec.number.0).collect();
        let expected: Vec<_> = [7].into_iter().chain(142..=200).collect();
        assert_eq!(numbers, expected);
        let large = |mut release: Release| {
            release.spec.created_by = "x".repeat(1 << 20);
            release
        };
        let large: Vec<_> = all.into_iter().take(9).map(large).collect();
        let kept = that_fit(large, Some(ReleaseNumber(1)));
        let numbers: Vec<_> = kept.iter().map(|release| release.spec.number.0).collect();
        assert_eq!(numbers, [1, 9]);
    }

    #[test]
    fn a_header_says_what_it_is_before_what_is_in_it() {
        let header = |text: &str| Header::parse(text.as_bytes());
        let newer = header(r#"{"format":"coracle-export","version":2,"made":7}"#);
        let newer = newer.unwrap_err().to_string();
        assert!(
            newer.contains("version 2") && newer.contains("version 1"),
            "{newer}"
        );
        for other in ["", "7", "{}", r#"{"format":"tar","version":1}"#] {
            let other = header(other).unwrap_err().to_string();
            assert_eq!(other, "this is no export of Coracle");
        }
        let odd = header(r#"{"format":"coracle-export","version":1}"#);
        assert!(odd.unwrap_err().to_string().contains("coracle-export.json"));
        for none in [&b""[..], b"nonsense"] {
            assert!(matches!(
                Header::read(none),
                Err(OperationError::InvalidSource { .. })
            ));
        }
    }
}
