//! The first reading of an export: all of it is checked, and the records are kept.
//!
//! Theory of operation: the archive comes from anybody. It is walked within the bounds of sources
//! ([`coracle_builder::walk`]); records are small and bounded together, blobs only run through a hash. A file that
//! is not known, is there twice, or is not as the last file lists it makes the whole export invalid.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Seek as _;

use coracle_builder::{ArchiveFile, SourceError, walk};
use coracle_control::OperationError;
use coracle_control::archive::{
    APPS_FOLDER, AppRecord, Archive, BLOBS_FOLDER, HEADER_FILE, Header, INDEX_FILE, Index,
    IndexedFile, LIMITS, PROJECTS_FILE, ProjectRecord, RECORD_BYTES, RECORDS_BYTES, USERS_FILE,
    UserRecord, unreadable,
};
use coracle_model::quantity::ByteSize;
use coracle_registry::Digest;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256, Sha512};

use crate::archive::blob_digest;

/// Bytes that are hashed at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// What an archive has.
pub(crate) struct Contents {
    /// Its records; the seal is to be opened.
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

impl From<Refused> for crate::error::ApiError {
    fn from(refused: Refused) -> Self {
        refused.0.into()
    }
}

fn invalid(reason: impl Into<String>) -> OperationError {
    OperationError::InvalidSource {
        reason: reason.into(),
    }
}

#[derive(Default)]
struct Reading {
    header: Option<Header>,
    projects: Option<Vec<ProjectRecord>>,
    users: Vec<UserRecord>,
    apps: Vec<AppRecord>,
    blobs: BTreeMap<Digest, u64>,
    files: Vec<IndexedFile>,
    paths: BTreeSet<String>,
    index: Option<Index>,
    records_bytes: u64,
}

/// Reads and checks the whole archive from its beginning. Blocks.
pub(crate) fn verify(mut file: &File) -> Result<Contents, Refused> {
    file.rewind().map_err(SourceError::Io)?;
    let mut reading = Reading::default();
    walk(file, &LIMITS, |file| reading.take(file))?;
    reading.finish()
}

impl Reading {
    fn take(&mut self, file: &mut ArchiveFile<'_>) -> Result<(), Refused> {
        let path = file.path.to_owned();
        let shown = coracle_model::name::shown(&path);
        if self.index.is_some() {
            return Err(Refused(invalid(format!(
                "{shown} comes after the manifest"
            ))));
        }
        if self.header.is_none() && path != HEADER_FILE {
            return Err(Refused(invalid("this is no export of Coracle")));
        }
        if !self.paths.insert(path.clone()) {
            return Err(Refused(invalid(format!("{shown} is there twice"))));
        }
        let folder = path.split('/').next().unwrap_or_default();
        match (path.as_str(), folder) {
            (HEADER_FILE, _) => {
                let content = self.content(file)?;
                self.header = Some(Header::parse(&content).map_err(Refused)?);
            }
            (PROJECTS_FILE, _) => self.projects = Some(self.record(file)?),
            (USERS_FILE, _) => self.users = self.record(file)?,
            (INDEX_FILE, _) => {
                self.index = Some(self.record(file)?);
                // It does not list itself.
                self.files.pop();
            }
            (_, APPS_FOLDER) => {
                let app: AppRecord = self.record(file)?;
                if path != format!("{APPS_FOLDER}/{}/{}.json", app.project, app.name) {
                    return Err(Refused(invalid(format!("{shown} is of another app"))));
                }
                self.apps.push(app);
            }
            (_, BLOBS_FOLDER) => self.blob(file, &path)?,
            _ => {
                return Err(Refused(invalid(format!(
                    "{shown} is not part of an export"
                ))));
            }
        }
        Ok(())
    }

    /// The content of a record, which is noted.
    fn content(&mut self, file: &mut ArchiveFile<'_>) -> Result<Vec<u8>, Refused> {
        self.records_bytes = self.records_bytes.saturating_add(file.size);
        if file.size > RECORD_BYTES || self.records_bytes > RECORDS_BYTES {
            let limit = format!(
                "{} for one record and {} for all",
                ByteSize(RECORD_BYTES),
                ByteSize(RECORDS_BYTES)
            );
            return Err(Refused(OperationError::TooLarge {
                what: "a record of the export",
                limit,
            }));
        }
        let content = file.whole(RECORD_BYTES)?;
        self.files.push(IndexedFile {
            path: file.path.to_owned(),
            size: content.len() as u64,
            sha256: hex::encode(Sha256::digest(&content)),
        });
        Ok(content)
    }

    fn record<T: DeserializeOwned>(&mut self, file: &mut ArchiveFile<'_>) -> Result<T, Refused> {
        let content = self.content(file)?;
        // What is wrong with it may repeat what is in it, which may be a secret in the wrong place.
        serde_json::from_slice(&content).map_err(|error| {
            let shown = coracle_model::name::shown(file.path);
            let (line, column) = (error.line(), error.column());
            let what = format!("{shown} is not as it should be (line {line}, column {column})");
            Refused(invalid(what))
        })
    }

    fn blob(&mut self, file: &mut ArchiveFile<'_>, path: &str) -> Result<(), Refused> {
        let shown = coracle_model::name::shown(path);
        let digest = blob_digest(path)
            .ok_or_else(|| Refused(invalid(format!("{shown} is not named by a digest"))))?;
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
        let sha256 = hex::encode(short.finalize());
        let actual = long.map_or_else(|| sha256.clone(), |long| hex::encode(long.finalize()));
        if actual != digest.hex() {
            let what = format!("the content of {shown} is not what its name says");
            return Err(Refused(invalid(what)));
        }
        self.files.push(IndexedFile {
            path: path.to_owned(),
            size: file.size,
            sha256,
        });
        self.blobs.insert(digest, file.size);
        Ok(())
    }

    fn finish(self) -> Result<Contents, Refused> {
        let Some(header) = self.header else {
            return Err(Refused(invalid("this is no export of Coracle")));
        };
        let Some(index) = self.index else {
            return Err(Refused(invalid(
                "the export ends before its manifest: it was cut off",
            )));
        };
        check_index(&index, &self.files)?;
        let records = Archive {
            header,
            seal: None,
            projects: self.projects.unwrap_or_default(),
            users: self.users,
            apps: self.apps,
        };
        check_images(&records, &self.blobs)?;
        Ok(Contents {
            records,
            blobs: self.blobs,
        })
    }
}

/// Every file is as the manifest lists it.
fn check_index(index: &Index, files: &[IndexedFile]) -> Result<(), Refused> {
    let by_path = |files: &[IndexedFile]| -> BTreeMap<String, IndexedFile> {
        let pair = |file: &IndexedFile| (file.path.clone(), file.clone());
        files.iter().map(pair).collect()
    };
    let (listed, there) = (by_path(&index.files), by_path(files));
    let shown = |path: &str| coracle_model::name::shown(path);
    if let Some(path) = listed.keys().find(|path| !there.contains_key(*path)) {
        let what = format!("{} is missing: the manifest lists it", shown(path));
        return Err(Refused(invalid(what)));
    }
    for (path, file) in &there {
        match listed.get(path) {
            None => {
                let what = format!("{} is not in the manifest", shown(path));
                return Err(Refused(invalid(what)));
            }
            Some(listed) if listed != file => {
                let what = format!("{} is not as the manifest lists it", shown(path));
                return Err(Refused(invalid(what)));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Every image that is listed is there, and every blob is of an image.
fn check_images(records: &Archive, blobs: &BTreeMap<Digest, u64>) -> Result<(), Refused> {
    let mut used = BTreeSet::new();
    for app in &records.apps {
        let name = format!("app {}/{}", app.project, app.name);
        let wrong = |what: &str| Refused(invalid(format!("{name}: {what}")));
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
        return Err(Refused(invalid("there is a blob in it that no image has")));
    }
    Ok(())
}
