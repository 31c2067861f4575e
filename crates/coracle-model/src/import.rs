//! What an import tells: how far it is, and what became of each thing in the export.

use serde::{Deserialize, Serialize};

use crate::name::ProjectName;
use crate::object::Kind;
use crate::problem::Problem;

/// What to do about something that is here already and is not as the export has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// Import nothing at all, and say what is in the way.
    #[default]
    Fail,
    /// Leave what is here as it is, and import the rest.
    Skip,
    /// The app here becomes what the export has, by a new release; its own releases stay, to go back to.
    Replace,
}

/// What became of a thing, or in a check: would become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImportOutcome {
    /// It was not here.
    Created,
    /// It was here already, as the export has it.
    Unchanged,
    /// What was here became what the export has.
    Replaced,
    /// What was here stays as it is.
    Skipped,
    /// What is here is in the way.
    Conflict,
}

/// A thing of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImportItem {
    /// Its kind.
    pub kind: Kind,
    /// Its project, where it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub outcome: ImportOutcome,
    /// Why, when that is not plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Who says that an export is as it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VouchedBy {
    /// Its passphrase: whoever does not know it has changed nothing.
    Passphrase,
    /// Nobody: it was made without a passphrase, and whoever had the file may have changed what is in it.
    #[default]
    Nobody,
}

/// What became of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImportReport {
    /// Was it a check only, which changed nothing?
    pub check: bool,
    /// Who says that it is as it was made.
    #[serde(default)]
    pub vouched_by: VouchedBy,
    /// Every thing in it.
    pub items: Vec<ImportItem>,
    /// Blobs of images that were not here yet.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// What an export cannot carry, in plain words.
    pub notes: Vec<String>,
}

impl ImportReport {
    /// Is something in the way?
    #[must_use]
    pub fn has_conflicts(&self) -> bool {
        self.conflicts().next().is_some()
    }

    /// What is in the way.
    pub fn conflicts(&self) -> impl Iterator<Item = &ImportItem> {
        self.items
            .iter()
            .filter(|item| item.outcome == ImportOutcome::Conflict)
    }
}

/// What an import is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImportStage {
    /// Bytes of images go into the registry.
    Images,
    /// Projects, users and apps are created.
    Apps,
}

/// A line of an import's answer. The last one is a report or a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImportLine {
    /// How far it is.
    Progress {
        /// At what.
        stage: ImportStage,
        /// Bytes or things done.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// It is done.
    Report(ImportReport),
    /// It could not be ended. What was done stays; run it again to go on.
    Problem(Box<Problem>),
}
