//! Volumes of projects: Docker volumes of the local driver. Their size is not held to: the driver cannot.

use std::collections::HashMap;

use bollard::errors::Error;
use bollard::models::{Volume, VolumeCreateRequest};
use bollard::query_parameters::{ListVolumesOptions, RemoveVolumeOptions};
use coracle_engine::{EngineError, VolumeInfo};
use coracle_model::name::{ProjectName, VolumeName};
use coracle_model::quantity::ByteSize;

use crate::client::{engine_error, ignore_missing, is_missing, status_of};
use crate::facts::{PLATFORM, PROJECT, SIZE, VOLUME};
use crate::state::Core;

pub(crate) async fn ensure(
    core: &Core,
    project: &ProjectName,
    volume: &VolumeName,
    size: Option<ByteSize>,
) -> Result<(), EngineError> {
    let docker = core.client.docker().await?;
    let name = core.names.volume(project, volume);
    match docker.inspect_volume(&name).await {
        Ok(found) => return own(core, &found).map(|_| ()),
        Err(error) if is_missing(&error) => {}
        Err(error) => return Err(engine_error(error)),
    }
    let mut labels = HashMap::from([
        (PLATFORM.to_owned(), core.config.platform.clone()),
        (PROJECT.to_owned(), project.to_string()),
        (VOLUME.to_owned(), volume.to_string()),
    ]);
    if let Some(size) = size {
        labels.insert(SIZE.to_owned(), size.to_string());
    }
    let made = docker
        .create_volume(VolumeCreateRequest {
            name: Some(name),
            driver: Some("local".to_owned()),
            labels: Some(labels),
            ..VolumeCreateRequest::default()
        })
        .await
        .map_err(engine_error)?;
    // Docker answers with whatever has the name: somebody may have been quicker.
    own(core, &made).map(|_| ())
}

/// What a volume is, if it is the platform's.
fn own(core: &Core, volume: &Volume) -> Result<VolumeInfo, EngineError> {
    read(core, volume).ok_or_else(|| {
        EngineError::Refused(format!(
            "the volume name {} is taken by a volume that is not this platform's",
            volume.name
        ))
    })
}

fn read(core: &Core, volume: &Volume) -> Option<VolumeInfo> {
    let labels = &volume.labels;
    if labels.get(PLATFORM)? != &core.config.platform {
        return None;
    }
    let project = ProjectName::new(labels.get(PROJECT)?).ok()?;
    let name = VolumeName::new(labels.get(VOLUME)?).ok()?;
    if core.names.volume(&project, &name) != volume.name {
        return None;
    }
    let used_by = core.with(|state| {
        state
            .pods
            .values()
            .filter(|pod| pod.facts.pod.project == project)
            .filter(|pod| {
                let mounts = pod.container.as_ref().map(|c| &c.volumes);
                mounts.is_some_and(|m| m.contains(&volume.name))
            })
            .map(|pod| pod.facts.pod.name.clone())
            .collect()
    });
    Some(VolumeInfo {
        project,
        name,
        size: labels.get(SIZE).and_then(|s| s.parse().ok()),
        created: volume.created_at,
        // Docker would read all of it.
        used_bytes: None,
        used_by,
    })
}

pub(crate) async fn list(core: &Core) -> Result<Vec<VolumeInfo>, EngineError> {
    let docker = core.client.docker().await?;
    let filters = HashMap::from([(
        "label".to_owned(),
        vec![format!("{PLATFORM}={}", core.config.platform)],
    )]);
    let answer = docker
        .list_volumes(Some(ListVolumesOptions {
            filters: Some(filters),
        }))
        .await
        .map_err(engine_error)?;
    let mut volumes: Vec<VolumeInfo> = answer
        .volumes
        .unwrap_or_default()
        .iter()
        .filter_map(|volume| read(core, volume))
        .collect();
    volumes.sort_by(|a, b| (&a.project, &a.name).cmp(&(&b.project, &b.name)));
    Ok(volumes)
}

pub(crate) async fn remove(
    core: &Core,
    project: &ProjectName,
    volume: &VolumeName,
) -> Result<(), EngineError> {
    let docker = core.client.docker().await?;
    let name = core.names.volume(project, volume);
    match docker.inspect_volume(&name).await {
        Ok(found) => own(core, &found)?,
        Err(error) if is_missing(&error) => return Ok(()),
        Err(error) => return Err(engine_error(error)),
    };
    let removed: Result<(), Error> = docker
        .remove_volume(&name, None::<RemoveVolumeOptions>)
        .await;
    match ignore_missing(removed) {
        Err(error) if status_of(&error) == Some(409) => Err(EngineError::Refused(format!(
            "volume {volume} of project {project} is in use by a pod"
        ))),
        other => other.map_err(engine_error),
    }
}
