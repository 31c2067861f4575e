//! From changes of the store, the engine and the gateways to keys.
//!
//! Theory of operation: one task follows all changes and asks every controller which of its keys a change may
//! concern. What changed is told only as far as it takes to find the key; what is true is read by the run
//! itself. Whenever changes may have been missed (at the start, after an error, when this task fell behind)
//! every key of every controller is woken.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_engine::EngineEvent;
use coracle_model::workload::{Owner, PodId};
use coracle_task::Backoff;
use futures::StreamExt as _;
use tokio::sync::broadcast::error::RecvError;

use crate::controllers::change::Change;
use crate::controllers::runner::Running;
use crate::controllers::scene::{Complete, Scene};
use crate::error::OperationError;

/// Everything in the store.
const ALL: &str = "/";

pub(super) fn start(scene: &Arc<Scene>, running: Arc<Vec<Arc<dyn Running>>>) {
    let (own, all) = (Arc::clone(scene), Arc::clone(&running));
    scene
        .supervisor
        .service("store changes", Backoff::default(), move || {
            let (scene, running) = (Arc::clone(&own), Arc::clone(&all));
            async move { follow_store(&scene, &running).await }
        });
    let (own, all) = (Arc::clone(scene), Arc::clone(&running));
    scene
        .supervisor
        .service("engine changes", Backoff::default(), move || {
            let (scene, running) = (Arc::clone(&own), Arc::clone(&all));
            async move { follow_engine(&scene, &running).await }
        });
    let own = Arc::clone(scene);
    scene
        .supervisor
        .service("gateway reports", Backoff::default(), move || {
            let (scene, running) = (Arc::clone(&own), Arc::clone(&running));
            async move { follow_gateways(&scene, &running).await }
        });
}

fn wake(running: &[Arc<dyn Running>], change: &Change<'_>) {
    for one in running {
        one.wake(change);
    }
}

fn wake_all(running: &[Arc<dyn Running>]) {
    for one in running {
        one.wake_all();
    }
}

async fn follow_store(scene: &Scene, running: &[Arc<dyn Running>]) -> Result<(), OperationError> {
    let mut changes = scene.control.objects.store().watch(ALL, None).await?;
    wake_all(running);
    while let Some(change) = changes.next().await {
        wake(running, &Change::Stored(change?.key()));
    }
    Ok(())
}

async fn follow_gateways(scene: &Scene, running: &[Arc<dyn Running>]) -> Result<(), RecvError> {
    let mut reports = scene.control.feed.reports();
    loop {
        wake(running, &Change::Gateways);
        reports.changed().await.map_err(|_gone| RecvError::Closed)?;
    }
}

async fn follow_engine(scene: &Scene, running: &[Arc<dyn Running>]) -> Result<(), RecvError> {
    let observed = &scene.control.observed;
    let mut changes = observed.changes();
    // The event of a pod's end does not say whose it was.
    let mut owners: BTreeMap<PodId, Owner> = BTreeMap::new();
    let restart = |owners: &mut BTreeMap<PodId, Owner>| {
        owners.clear();
        owners.extend(
            observed
                .pods()
                .iter()
                .map(|pod| (pod.id.clone(), pod.owner.clone())),
        );
        if observed.is_synced() {
            scene.note_complete(Complete::FromNow);
        }
        wake_all(running);
    };
    restart(&mut owners);
    loop {
        match changes.recv().await {
            Ok(EngineEvent::Pod(pod)) => {
                wake(running, &Change::Pod(&pod.id, Some(&pod.owner)));
                owners.insert(pod.id, pod.owner);
            }
            Ok(EngineEvent::PodGone(id)) => {
                let owner = owners.remove(&id);
                wake(running, &Change::Pod(&id, owner.as_ref()));
            }
            Ok(EngineEvent::Reset) => scene.note_complete(Complete::No),
            Ok(EngineEvent::Synced) => {
                scene.note_complete(Complete::FromNow);
                wake_all(running);
            }
            Ok(EngineEvent::Node(_) | EngineEvent::NodeGone(_)) => wake(running, &Change::Node),
            Err(RecvError::Lagged(_)) => restart(&mut owners),
            Err(closed @ RecvError::Closed) => return Err(closed),
        }
    }
}
