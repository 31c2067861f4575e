//! What Docker itself says of a pod: the inspection of its container.

use bollard::query_parameters::InspectContainerOptions;
use coracle_engine::EngineError;
use coracle_engine::describe::redact;
use coracle_model::workload::PodId;
use serde_json::{Value, json};

use crate::client::{engine_error, is_missing};
use crate::phase;
use crate::state::Core;

pub(crate) async fn describe(core: &Core, id: &PodId) -> Result<Value, EngineError> {
    let found = core.with(|state| {
        let pod = state.pods.get(id)?;
        let container = pod.container.as_ref();
        let container = container.map(|container| container.id.clone());
        Some((container, phase::observed(pod, None)))
    });
    let Some((container, seen)) = found else {
        return Err(EngineError::NoSuchPod(id.clone()));
    };
    let without = json!({ "Name": id.name, "State": null, "Waiting": seen.status.reason });
    let Some(container) = container else {
        return Ok(redact(without, []));
    };
    let docker = core.client.docker().await?;
    let inspected = docker
        .inspect_container(&container, None::<InspectContainerOptions>)
        .await;
    match inspected {
        Ok(inspected) => {
            let raw = serde_json::to_value(inspected).map_err(|error| EngineError::Failed {
                message: "what Docker says of a container cannot be written".to_owned(),
                source: Some(Box::new(error)),
            })?;
            Ok(redact(raw, []))
        }
        // It went away just now, and another one may come.
        Err(error) if is_missing(&error) => Ok(redact(without, [])),
        Err(error) => Err(engine_error(error)),
    }
}
