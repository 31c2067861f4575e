//! Volumes.

use chrono::{DateTime, Utc};
use coracle_model::name::{AppName, PodName, ProjectName, VolumeName};
use coracle_model::quantity::ByteSize;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::client::Client;

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name within the project.
    pub name: VolumeName,
    /// Its project.
    pub project: ProjectName,
    /// The size that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<ByteSize>,
    /// The app that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<DateTime<Utc>>,
    /// Bytes that its data takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
    /// Pods that mount it.
    #[serde(default)]
    pub used_by: Vec<PodName>,
}

impl Client {
    /// The volumes of a project.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn volumes(&self, project: &ProjectName) -> Result<Vec<Volume>> {
        self.all(&format!("/projects/{project}/volumes")).await
    }

    /// Deletes a volume and its data. Refused while a pod uses it.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn delete_volume(&self, project: &ProjectName, volume: &VolumeName) -> Result<()> {
        self.delete(&format!("/projects/{project}/volumes/{volume}"), None)
            .await
    }
}
