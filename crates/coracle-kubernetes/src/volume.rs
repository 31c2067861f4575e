//! Volumes: persistent claims.

use std::sync::Arc;

use coracle_engine::{EngineError, VolumeInfo};
use coracle_model::name::{PodName, ProjectName, VolumeName};
use coracle_model::quantity::ByteSize;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};

use crate::client::{apply, engine_error, foreign, ignore_missing, within};
use crate::facts::{PLATFORM, PROJECT, SIZE, VOLUME, annotation, is_ours, label, moment};
use crate::naming;
use crate::object;
use crate::phase;
use crate::project;
use crate::state::Core;

pub(crate) async fn ensure(
    core: &Arc<Core>,
    project: &ProjectName,
    volume: &VolumeName,
    size: Option<ByteSize>,
) -> Result<(), EngineError> {
    let namespace = project::ensure(core, project).await?;
    ensure_in(core, project, &namespace, volume, size).await
}

pub(crate) async fn ensure_in(
    core: &Core,
    project: &ProjectName,
    namespace: &str,
    volume: &VolumeName,
    size: Option<ByteSize>,
) -> Result<(), EngineError> {
    let claims: Api<PersistentVolumeClaim> = within(&core.client, namespace);
    let name = naming::claim(volume);
    if let Some(found) = claims.get_metadata_opt(&name).await.map_err(engine_error)? {
        // What there is stays as it is: claims can hardly be changed, and nobody may lose data.
        return if is_ours(&found.metadata, &core.config.platform) {
            Ok(())
        } else {
            Err(foreign::<PersistentVolumeClaim>(Some(namespace), &name))
        };
    }
    let wish = object::claim(&core.config, project, volume, size);
    apply(&claims, &name, &wish).await.map(|_| ())
}

pub(crate) async fn list(core: &Core) -> Result<Vec<VolumeInfo>, EngineError> {
    let claims: Api<PersistentVolumeClaim> = Api::all(core.client.clone());
    let ours = ListParams::default().labels(&format!("{PLATFORM}={}", core.config.platform));
    let found = claims.list(&ours).await.map_err(engine_error)?;
    let info = |claim: &PersistentVolumeClaim| {
        let meta = &claim.metadata;
        let project = ProjectName::new(label(meta, PROJECT)?).ok()?;
        let name = VolumeName::new(label(meta, VOLUME)?).ok()?;
        let size = annotation(meta, SIZE).and_then(|s| s.parse().ok());
        let used_by = users(core, &project, &claim.name_any());
        Some(VolumeInfo {
            project,
            name,
            size: size.map(ByteSize),
            created: meta.creation_timestamp.as_ref().map(moment),
            used_bytes: None,
            used_by,
        })
    };
    let deleting = |claim: &&PersistentVolumeClaim| claim.metadata.deletion_timestamp.is_none();
    Ok(found
        .items
        .iter()
        .filter(deleting)
        .filter_map(info)
        .collect())
}

/// Does a pod use a claim now?
fn is_user(pod: &Pod, claim: &str) -> bool {
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_ref());
    let mounts = volumes.is_some_and(|volumes| {
        volumes.iter().any(|volume| {
            let source = volume.persistent_volume_claim.as_ref();
            source.is_some_and(|source| source.claim_name == claim)
        })
    });
    mounts && !phase::has_ended(pod)
}

/// Pods that mount a claim.
fn users(core: &Core, project: &ProjectName, claim: &str) -> Vec<PodName> {
    core.with(|state| {
        let mut users: Vec<PodName> = state
            .groups
            .iter()
            .filter(|(id, _)| id.project == *project)
            .flat_map(|(_, group)| group.pods.iter())
            .filter(|(_, pod)| is_user(&pod.live, claim))
            .filter_map(|(name, pod)| Some(pod.facts.pod_id(name)?.name))
            .collect();
        users.sort();
        users.dedup();
        users
    })
}

pub(crate) async fn remove(
    core: &Arc<Core>,
    project: &ProjectName,
    volume: &VolumeName,
) -> Result<(), EngineError> {
    let namespace = core.namespace(project)?;
    let claims: Api<PersistentVolumeClaim> = within(&core.client, &namespace);
    let name = naming::claim(volume);
    let Some(found) = claims.get_metadata_opt(&name).await.map_err(engine_error)? else {
        return Ok(());
    };
    if !is_ours(&found.metadata, &core.config.platform) {
        return Err(foreign::<PersistentVolumeClaim>(Some(&namespace), &name));
    }
    // The API server is asked: what this process has seen may be little, just after its start, and data is at stake.
    let pods: Api<Pod> = within(&core.client, &namespace);
    let pods = pods
        .list(&ListParams::default())
        .await
        .map_err(engine_error)?;
    let user = pods.items.iter().find(|pod| is_user(pod, &name));
    if let Some(pod) = user {
        return Err(EngineError::Refused(format!(
            "volume {volume} is in use by pod {project}/{}",
            pod.name_any()
        )));
    }
    ignore_missing(claims.delete(&name, &DeleteParams::background()).await)?;
    project::sweep(core, project).await
}
