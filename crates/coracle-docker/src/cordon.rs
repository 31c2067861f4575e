//! The cordon of the one node.
//!
//! Theory of operation: it must outlive this process, and what outlives this process is what Docker has. An
//! empty volume with the platform's label and a name of its own is there for as long as the node is cordoned:
//! to make it and to remove it are single acts, and both are idempotent. It is looked for before pods are first
//! reconciled and with every rescan, so a platform that was moved to another daemon is open there.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::Docker;
use bollard::models::{Volume, VolumeCreateRequest};
use bollard::query_parameters::RemoveVolumeOptions;
use chrono::{SecondsFormat, Utc};
use coracle_engine::EngineError;
use coracle_model::node::Scheduling;

use crate::client::{engine_error, ignore_missing, is_missing};
use crate::facts::{CORDONED, PLATFORM};
use crate::node;
use crate::state::Core;

/// Tells the node whether it gets new pods.
pub(crate) async fn set(core: &Arc<Core>, name: &str, may: Scheduling) -> Result<(), EngineError> {
    let docker = core.client.docker().await?;
    known(core, &docker, name).await?;
    // One at a time, or what is kept and what is known could end up different.
    let _one = core.cordoning.lock().await;
    match may {
        Scheduling::Cordoned => put(core, &docker).await?,
        Scheduling::Open => take_away(core, &docker).await?,
    }
    take_in(core, may);
    Ok(())
}

/// Reads what is kept.
pub(crate) async fn read(core: &Arc<Core>, docker: &Docker) -> Result<(), EngineError> {
    let _one = core.cordoning.lock().await;
    let kept = match docker.inspect_volume(&core.names.cordon()).await {
        Ok(found) if is_own(core, &found) => Scheduling::Cordoned,
        Ok(_) => Scheduling::Open,
        Err(error) if is_missing(&error) => Scheduling::Open,
        Err(error) => return Err(engine_error(error)),
    };
    take_in(core, kept);
    Ok(())
}

async fn known(core: &Core, docker: &Docker, name: &str) -> Result<(), EngineError> {
    let known = core.with(|state| state.node.as_ref().map(|n| n.metadata.name.clone()));
    let known = match known {
        Some(known) => known,
        None => {
            let info = docker.info().await.map_err(engine_error)?;
            node::of_info(&info, 0).metadata.name
        }
    };
    if known == name {
        Ok(())
    } else {
        Err(EngineError::NoSuchNode(name.to_owned()))
    }
}

fn is_own(core: &Core, volume: &Volume) -> bool {
    volume.labels.get(PLATFORM) == Some(&core.config.platform)
        && volume.labels.contains_key(CORDONED)
}

async fn put(core: &Core, docker: &Docker) -> Result<(), EngineError> {
    let since = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let made = docker
        .create_volume(VolumeCreateRequest {
            name: Some(core.names.cordon()),
            driver: Some("local".to_owned()),
            labels: Some(HashMap::from([
                (PLATFORM.to_owned(), core.config.platform.clone()),
                (CORDONED.to_owned(), since),
            ])),
            ..VolumeCreateRequest::default()
        })
        .await
        .map_err(engine_error)?;
    // Docker answers with whatever has the name.
    if is_own(core, &made) {
        Ok(())
    } else {
        Err(EngineError::Refused(format!(
            "the volume name {} is taken by a volume that is not this platform's",
            made.name
        )))
    }
}

async fn take_away(core: &Core, docker: &Docker) -> Result<(), EngineError> {
    let name = core.names.cordon();
    match docker.inspect_volume(&name).await {
        Ok(found) if !is_own(core, &found) => return Ok(()),
        Ok(_) => {}
        Err(error) if is_missing(&error) => return Ok(()),
        Err(error) => return Err(engine_error(error)),
    }
    let removed = docker
        .remove_volume(&name, None::<RemoveVolumeOptions>)
        .await;
    ignore_missing(removed).map_err(engine_error)
}

/// Acts by what is kept from now on; pods that waited for the end of a cordon wait no more.
fn take_in(core: &Arc<Core>, may: Scheduling) {
    let waited = core.with(|state| {
        state.scheduling = may;
        if let Some(node) = state.node.clone() {
            state.set_node(node);
        }
        if may == Scheduling::Cordoned {
            return Vec::new();
        }
        let held: Vec<_> = state
            .pods
            .values_mut()
            .filter(|pod| pod.is_held())
            .map(|pod| {
                pod.trouble = None;
                pod.facts.workload.clone()
            })
            .collect();
        held
    });
    for workload in waited {
        core.reconcile(&workload);
    }
}
