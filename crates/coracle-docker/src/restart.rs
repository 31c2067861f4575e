//! Restarting a pod in place.

use std::sync::Arc;

use bollard::query_parameters::RestartContainerOptions;
use coracle_engine::EngineError;
use coracle_model::workload::PodId;

use crate::client::engine_error;
use crate::container::whole_seconds;
use crate::operate::{STOP_MARGIN, drain, read};
use crate::pod::OpKind;
use crate::reconcile::OpGuard;
use crate::state::Core;

/// Why a pod is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Somebody asked for it: requests in flight are waited for.
    Asked,
    /// It does not answer any more.
    NotAnswering,
}

/// Restarts a pod because somebody asked for it, after whatever is done with it now.
pub(crate) async fn when_free(core: &Arc<Core>, pod: &PodId) -> Result<(), EngineError> {
    loop {
        let stays = core
            .when_freed(|state| match state.pods.get(pod) {
                Some(record) if record.leaving.is_some() => Some(false),
                Some(record) => record.op.is_none().then_some(true),
                None => Some(false),
            })
            .await;
        if !stays {
            // Its end is more than a restart.
            return Ok(());
        }
        if let Some(guard) = core.begin(pod, OpKind::Restart { draining: true }) {
            return restart(core, pod, Why::Asked, &guard).await;
        }
    }
}

/// Stops a pod and starts it again in place. The guard must be of a restart.
pub(crate) async fn restart(
    core: &Arc<Core>,
    pod: &PodId,
    why: Why,
    guard: &OpGuard,
) -> Result<(), EngineError> {
    let known = core.with(|state| {
        let record = state.pods.get(pod)?;
        let container = record.container.as_ref()?;
        let count = record.restarts_before + container.restart_count;
        let served = record.run.as_ref().is_some_and(|run| run.was_ready);
        Some((
            container.id.clone(),
            record.facts.clone(),
            count,
            served && record.facts.port.is_some(),
        ))
    });
    let Some((id, facts, count, served)) = known else {
        return Err(EngineError::NoSuchPod(pod.clone()));
    };
    if why == Why::Asked
        && served
        && guard
            .cancel
            .run_until_cancelled(drain(&guard.drained, facts.drain))
            .await
            .is_none()
    {
        return Ok(());
    }
    core.change(pod, |record| {
        if let Some(op) = &mut record.op {
            op.kind = OpKind::Restart { draining: false };
        }
        record.run = None;
        record.note = Some("it is being restarted".to_owned());
    });
    let docker = core.client.docker().await?;
    let patient = docker.clone().with_timeout(facts.grace + STOP_MARGIN);
    let options = RestartContainerOptions {
        signal: None,
        t: Some(i32::try_from(whole_seconds(facts.grace)).unwrap_or(i32::MAX)),
    };
    patient
        .restart_container(&id, Some(options))
        .await
        .map_err(engine_error)?;
    // Docker's own counter began anew.
    core.change(pod, |record| {
        record.restarts_before = count + 1;
        if let Some(container) = &mut record.container {
            container.restart_count = 0;
        }
    });
    read(core, &docker, &id).await.map_err(engine_error)
}
