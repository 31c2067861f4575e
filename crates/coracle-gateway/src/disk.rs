//! The last table on disk.
//!
//! Theory of operation: a gateway that starts while the control plane is away serves what it served before. The file
//! is written beside and renamed, so it is always a whole one; it names its version, so that a later gateway can
//! refuse what it does not know. A file that cannot be read costs the head start and nothing else.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coracle_model::route::RouteTable;
use serde::{Deserialize, Serialize};

use crate::gateway::Gateway;

/// Version of the file's format.
const VERSION: u32 = 1;
/// Largest table that is read, from disk or from the control plane.
pub(crate) const LARGEST: usize = 64 * 1024 * 1024;

/// Why the last table could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    #[error("cannot read the file")]
    Read(#[source] std::io::Error),
    #[error("the file is larger than a table may be")]
    TooLarge,
    #[error("the file is not a route table")]
    Parse(#[source] serde_json::Error),
    #[error("the file has version {0}, this gateway reads version {VERSION}")]
    Version(u32),
}

#[derive(Serialize)]
struct Saved<'a> {
    version: u32,
    table: &'a RouteTable,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Deserialize)]
struct Loaded {
    table: RouteTable,
}

/// Where the last table is.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("routes.json")
}

/// Reads the last table; `None` when there is no file.
pub(crate) fn load(path: &Path) -> Result<Option<RouteTable>, DiskError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DiskError::Read(error)),
    };
    let mut text = Vec::new();
    file.take(LARGEST as u64 + 1)
        .read_to_end(&mut text)
        .map_err(DiskError::Read)?;
    if text.len() > LARGEST {
        return Err(DiskError::TooLarge);
    }
    let Version { version } = serde_json::from_slice(&text).map_err(DiskError::Parse)?;
    if version != VERSION {
        return Err(DiskError::Version(version));
    }
    let Loaded { table } = serde_json::from_slice(&text).map_err(DiskError::Parse)?;
    Ok(Some(table))
}

/// Writes `table` so that the file is the old one or the new one, whatever happens.
pub(crate) fn save(path: &Path, table: &RouteTable) -> std::io::Result<()> {
    // Two gateways may share the folder for a moment while one takes over.
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let text = serde_json::to_vec(&Saved {
        version: VERSION,
        table,
    })?;
    let mut file = File::create(&beside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Saves the table in force each time `changed` says that there is a new one. Tables that come faster than the
/// disk are skipped: only the last one counts.
pub(crate) async fn keep(gateway: &Gateway, path: PathBuf, changed: &tokio::sync::Notify) {
    loop {
        changed.notified().await;
        let Some(table) = gateway.routes.table() else {
            continue;
        };
        let path = path.clone();
        // Not on a worker: the disk may take its time, requests may not.
        let saved = tokio::task::spawn_blocking(move || save(&path, &Arc::clone(&table))).await;
        match saved {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot save the route table"),
            Err(error) => tracing::error!(%error, "saving the route table panicked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that version 1 wrote: must be readable for ever.
    const GOLDEN: &str = r#"{"version":1,"table":{"generation":7,"routes":{"shop.example":{"project":"default","app":"shop","target":{"state":"pods","pods":["10.210.0.2:8080"]}},"new.example":{"project":"default","app":"new","target":{"state":"starting"}},"bad.example":{"project":"default","app":"bad","target":{"state":"failed","reason":"exit 1"}},"off.example":{"project":"default","app":"off","target":{"state":"stopped"}}}}}"#;

    #[test]
    fn a_golden_file_is_read_and_survives_a_round() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path());
        std::fs::write(&path, GOLDEN).unwrap();
        let table = load(&path).unwrap().unwrap();
        assert_eq!(table.generation, 7);
        assert_eq!(table.routes.len(), 4);
        save(&path, &table).unwrap();
        assert_eq!(load(&path).unwrap().unwrap(), table);
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path());
        assert!(load(&path).unwrap().is_none());
        std::fs::write(&path, &GOLDEN[..50]).unwrap();
        assert!(matches!(load(&path), Err(DiskError::Parse(_))));
        std::fs::write(&path, r#"{"version":2,"table":"unknown"}"#).unwrap();
        assert!(matches!(load(&path), Err(DiskError::Version(2))));
        std::fs::write(&path, GOLDEN.replace("shop.example", "Sh op")).unwrap();
        assert!(matches!(load(&path), Err(DiskError::Parse(_))));
    }
}
