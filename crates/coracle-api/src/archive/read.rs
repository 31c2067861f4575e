//! The first reading of an export: all of it is checked, and the records are kept.
//!
//! Theory of operation: the archive comes from anybody. It is walked within the bounds of sources
//! ([`coracle_builder::walk`]): records are kept as the bytes that they are, bounded together, and blobs only run through a
//! hash ([`read`]). A file that is not known or there twice makes the whole export invalid. Then the seal, if there is one,
//! vouches for the index, and the index for every other file; only after that anything is made of a record
//! ([`Unverified::verify`]).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Seek as _;

use coracle_builder::{ArchiveFile, SourceError, walk};
use coracle_control::OperationError;
use coracle_control::archive::bounds::{RecordBudget, malformed};
use coracle_control::archive::seal::Seal;
use coracle_control::archive::{
    APPS_FOLDER, AppRecord, Archive, BLOBS_FOLDER, HEADER_BYTES, HEADER_FILE, Header, INDEX_BYTES,
    INDEX_FILE, Index, IndexedFile, LIMITS, PROJECTS_FILE, SIGNATURE_FILE, USERS_FILE, unreadable,
};
use coracle_model::name::shown;
use coracle_registry::Digest;
use sha2::{Digest as _, Sha256, Sha512};

use crate::archive::blob_digest;

/// Bytes that are hashed at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The most bytes of what vouches for the index.
const SIGNATURE_BYTES: u64 = 1024;

/// What an archive has.
pub(crate) struct Contents {
    /// Its records.
    pub(crate) records: Archive,
    /// Its blobs with their sizes.
    pub(crate) blobs: BTreeMap<Digest, u64>,
}

/// Why an export is not taken.
pub(crate) struct Refused(OperationError);

impl From<SourceError> for Refused {
    fn from(error: SourceError) -> Self {
        Self(unreadable(error))
    }
}

impl From<OperationError> for Refused {
    fn from(error: OperationError) -> Self {
        Self(error)
    }
}

impl From<Refused> for crate::error::ApiError {
    fn from(refused: Refused) -> Self {
        refused.0.into()
    }
}

fn invalid(reason: impl Into<String>) -> Refused {
    Refused(OperationError::InvalidSource {
        reason: reason.into(),
    })
}

/// The bytes of a file.
type Content = Vec<u8>;

#[derive(Default)]
struct Reading {
    header: Option<Header>,
    records: Vec<(String, Content)>,
    blobs: BTreeMap<Digest, u64>,
    /// Size and SHA-256 of each file that the index is to list.
    files: BTreeMap<String, (u64, Sum)>,
    index: Option<Content>,
    signature: Option<Content>,
    budget: RecordBudget,
}

/// A SHA-256.
type Sum = [u8; 32];

/// An archive that came whole. Whether it is as it was made is not known yet.
pub(crate) struct Unverified {
    header: Header,
    records: Vec<(String, Content)>,
    blobs: BTreeMap<Digest, u64>,
    files: BTreeMap<String, (u64, Sum)>,
    index: Content,
    signature: Option<Content>,
    budget: RecordBudget,
}

/// Reads the whole archive from its beginning. Blocks.
pub(crate) fn read(mut file: &File) -> Result<Unverified, Refused> {
    file.rewind().map_err(SourceError::Io)?;
    let mut reading = Reading::default();
    walk(file, &LIMITS, |file| reading.take(file))?;
    let Some(header) = reading.header else {
        return Err(invalid("this is no export of Coracle"));
    };
    let Some(index) = reading.index else {
        return Err(invalid(
            "the export ends before its manifest: it was cut off",
        ));
    };
    Ok(Unverified {
        header,
        records: reading.records,
        blobs: reading.blobs,
        files: reading.files,
        index,
        signature: reading.signature,
        budget: reading.budget,
    })
}

impl Reading {
    fn take(&mut self, file: &mut ArchiveFile<'_>) -> Result<(), Refused> {
        let path = file.path.to_owned();
        let name = shown(&path);
        if self.signature.is_some() || (self.index.is_some() && path != SIGNATURE_FILE) {
            return Err(invalid(format!("{name} comes after the manifest")));
        }
        if self.header.is_none() && path != HEADER_FILE {
            return Err(invalid("this is no export of Coracle"));
        }
        let folder = path.split('/').next().unwrap_or_default();
        match (path.as_str(), folder) {
            (HEADER_FILE, _) => {
                let content = file.whole(HEADER_BYTES)?;
                self.list(&path, file.size, Sha256::digest(&content).into())?;
                self.header = Some(Header::parse(&content)?);
            }
            (PROJECTS_FILE | USERS_FILE, _) | (_, APPS_FOLDER) => {
                self.budget.take_bytes(file.size)?;
                let content = file.whole(file.size)?;
                self.list(&path, file.size, Sha256::digest(&content).into())?;
                self.records.push((path, content));
            }
            (_, BLOBS_FOLDER) => self.blob(file, &path)?,
            (INDEX_FILE, _) => self.index = Some(file.whole(INDEX_BYTES)?),
            (SIGNATURE_FILE, _) if self.index.is_some() => {
                self.signature = Some(file.whole(SIGNATURE_BYTES)?);
            }
            _ => return Err(invalid(format!("{name} is not part of an export"))),
        }
        Ok(())
    }

    /// Notes a file that the index is to list.
    fn list(&mut self, path: &str, size: u64, sha256: Sum) -> Result<(), Refused> {
        match self.files.entry(path.to_owned()) {
            Entry::Vacant(free) => {
                free.insert((size, sha256));
                Ok(())
            }
            Entry::Occupied(_) => Err(invalid(format!("{} is there twice", shown(path)))),
        }
    }

    fn blob(&mut self, file: &mut ArchiveFile<'_>, path: &str) -> Result<(), Refused> {
        let name = shown(path);
        let digest =
            blob_digest(path).ok_or_else(|| invalid(format!("{name} is not named by a digest")))?;
        let mut short = Sha256::new();
        let mut long =
            (digest.algorithm() != coracle_registry::Algorithm::Sha256).then(Sha512::new);
        let mut buffer = [0; CHUNK_BYTES];
        loop {
            let n = file.chunk(&mut buffer)?;
            if n == 0 {
                break;
            }
            short.update(&buffer[..n]);
            if let Some(long) = &mut long {
                long.update(&buffer[..n]);
            }
        }
        let sha256: Sum = short.finalize().into();
        let actual = long.map_or_else(|| hex::encode(sha256), |long| hex::encode(long.finalize()));
        if actual != digest.hex() {
            let what = format!("the content of {name} is not what its name says");
            return Err(invalid(what));
        }
        self.list(path, file.size, sha256)?;
        self.blobs.insert(digest, file.size);
        Ok(())
    }
}

impl Unverified {
    /// What it says of itself.
    pub(crate) const fn header(&self) -> &Header {
        &self.header
    }

    /// Holds every file to the index, the index to the seal, and each record to the rules. Blocks.
    pub(crate) fn verify(mut self, seal: Option<Seal>) -> Result<Contents, Refused> {
        match (&seal, &self.signature) {
            (Some(seal), Some(signature)) => seal.verify(&self.index, signature)?,
            (None, None) => {}
            (Some(_), None) => {
                return Err(invalid(format!(
                    "the export was changed after it was made: it has a seal, and its {SIGNATURE_FILE} is missing"
                )));
            }
            (None, Some(_)) => {
                return Err(invalid(format!(
                    "the export was changed after it was made: it has a {SIGNATURE_FILE}, and no seal"
                )));
            }
        }
        let index: Index =
            serde_json::from_slice(&self.index).map_err(|error| malformed(INDEX_FILE, &error))?;
        check_index(&index, &self.files)?;
        drop((index, self.files));
        let mut records = Archive {
            header: self.header,
            seal,
            projects: Vec::new(),
            users: Vec::new(),
            apps: Vec::new(),
        };
        // One after another: the bytes of each are free when the next one is made.
        for (path, content) in self.records {
            match path.as_str() {
                PROJECTS_FILE => records.projects = self.budget.read(&path, &content)?,
                USERS_FILE => records.users = self.budget.read(&path, &content)?,
                _ => {
                    let app: AppRecord = self.budget.read(&path, &content)?;
                    if path != format!("{APPS_FOLDER}/{}/{}.json", app.project, app.name) {
                        return Err(invalid(format!("{} is of another app", shown(&path))));
                    }
                    records.apps.push(app);
                }
            }
        }
        check_images(&records, &self.blobs)?;
        Ok(Contents {
            records,
            blobs: self.blobs,
        })
    }
}

/// Every file is as the manifest lists it.
fn check_index(index: &Index, files: &BTreeMap<String, (u64, Sum)>) -> Result<(), Refused> {
    let mut listed = BTreeSet::new();
    for IndexedFile { path, size, sha256 } in &index.files {
        let Some((actual, sum)) = files.get(path) else {
            let what = format!("{} is missing: the manifest lists it", shown(path));
            return Err(invalid(what));
        };
        if (size, sha256) != (actual, &hex::encode(sum)) {
            let what = format!("{} is not as the manifest lists it", shown(path));
            return Err(invalid(what));
        }
        if !listed.insert(path) {
            let what = format!("the manifest lists {} twice", shown(path));
            return Err(invalid(what));
        }
    }
    match files.keys().find(|path| !listed.contains(path)) {
        Some(path) => Err(invalid(format!("{} is not in the manifest", shown(path)))),
        None => Ok(()),
    }
}

/// Every image that is listed is there, and every blob is of an image.
fn check_images(records: &Archive, blobs: &BTreeMap<Digest, u64>) -> Result<(), Refused> {
    let mut used = BTreeSet::new();
    for app in &records.apps {
        let name = format!("app {}/{}", app.project, app.name);
        let wrong = |what: &str| invalid(format!("{name}: {what}"));
        for image in &app.images {
            if image.manifests.is_empty() {
                return Err(wrong("an image has no manifest"));
            }
            for manifest in &image.manifests {
                let digest: Digest = manifest
                    .digest
                    .parse()
                    .map_err(|_invalid| wrong("a manifest is not named by a digest"))?;
                let content = manifest.content.as_bytes();
                let is_it = match digest.algorithm() {
                    coracle_registry::Algorithm::Sha256 => Digest::of(content) == digest,
                    coracle_registry::Algorithm::Sha512 => {
                        hex::encode(Sha512::digest(content)) == digest.hex()
                    }
                };
                if !is_it {
                    return Err(wrong("the content of a manifest is not what its name says"));
                }
            }
            for blob in &image.blobs {
                let digest: Digest = blob
                    .digest
                    .parse()
                    .map_err(|_invalid| wrong("a blob is not named by a digest"))?;
                if blobs.get(&digest) != Some(&blob.size) {
                    return Err(wrong("a blob of its image is not in the export"));
                }
                used.insert(digest);
            }
        }
    }
    if blobs.keys().any(|digest| !used.contains(digest)) {
        return Err(invalid("there is a blob in it that no image has"));
    }
    Ok(())
}
