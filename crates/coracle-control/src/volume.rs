//! What is known of volumes. Engines have them; whose they are, releases say.

use std::collections::BTreeMap;

use coracle_model::name::{AppName, ProjectName, VolumeName};
use coracle_model::plan::naming;
use coracle_model::release::ReleaseSpec;

use crate::control::Control;
use crate::error::OperationError;
use crate::keys;

impl Control {
    /// Which volumes of a project belong to which app, by all releases that are kept.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn apps_of_volumes(
        &self,
        project: &ProjectName,
    ) -> Result<BTreeMap<VolumeName, AppName>, OperationError> {
        let all = format!("{}{project}/", keys::RELEASES);
        let mut apps = BTreeMap::new();
        for release in self.objects.list::<ReleaseSpec>(&all).await? {
            for mount in &release.spec.config.volumes {
                let volume = naming::volume(&release.spec.app, &mount.name);
                apps.insert(volume, release.spec.app.clone());
            }
        }
        Ok(apps)
    }
}
