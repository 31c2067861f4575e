//! What the cluster itself says of a pod: its object, and the events about it.

use std::collections::BTreeSet;
use std::sync::Arc;

use coracle_engine::EngineError;
use coracle_engine::describe::redact;
use coracle_engine::wish::Wish;
use coracle_model::workload::{PodId, Workload};
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use kube::Api;
use kube::api::ListParams;
use serde::Serialize;
use serde_json::{Value, json};

use crate::client::{engine_error, within};
use crate::state::Core;

/// Events that are told of a pod.
const EVENTS: u32 = 100;

/// What an object's history of changes is of no use to people, and repeats what was applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

pub(crate) async fn describe(core: &Arc<Core>, id: &PodId) -> Result<Value, EngineError> {
    let found = core.with(|state| {
        let told = state.told(id).map(|pod| pod.status.reason.clone());
        let name = state
            .record(id)
            .and_then(|record| record.live.metadata.name.clone());
        let wish = state.group_of(id).and_then(|(_, group)| match &group.wish {
            Some(Wish::Run(workload)) => Some(Arc::clone(workload)),
            _ => None,
        });
        (told.is_some() || name.is_some()).then(|| (told.flatten(), name, wish))
    });
    let Some((reason, name, wish)) = found else {
        return Err(EngineError::NoSuchPod(id.clone()));
    };
    let namespace = core.namespace(&id.project)?;
    let pods: Api<Pod> = within(&core.client, &namespace);
    let live = match &name {
        Some(name) => pods.get_opt(name).await.map_err(engine_error)?,
        None => None,
    };
    let Some(mut live) = live else {
        let waiting = json!({ "name": id.name, "pod": null, "waiting": reason });
        return Ok(hide(waiting, wish.as_deref(), &[]));
    };
    live.metadata.managed_fields = None;
    if let Some(annotations) = &mut live.metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
    let events = match &live.metadata.uid {
        Some(uid) => events(core, &namespace, uid).await?,
        None => Vec::new(),
    };
    let values = values(core, &namespace, &live).await?;
    let raw = json!({ "pod": value(&live)?, "events": events });
    Ok(hide(raw, wish.as_deref(), &values))
}

/// The values of a pod's variables, from the Secrets that it has them from: nobody else knows them while nothing was
/// wished of an engine that has just begun. Without them nothing is told.
async fn values(core: &Core, namespace: &str, live: &Pod) -> Result<Vec<String>, EngineError> {
    let api: Api<Secret> = within(&core.client, namespace);
    let mut values = Vec::new();
    for name in secrets(live) {
        let Some(secret) = api.get_opt(&name).await.map_err(engine_error)? else {
            continue;
        };
        let data = secret.data.unwrap_or_default();
        values.extend(
            data.into_values()
                .filter_map(|v| String::from_utf8(v.0).ok()),
        );
    }
    Ok(values)
}

/// The Secrets that the containers of a pod have variables from.
fn secrets(pod: &Pod) -> BTreeSet<String> {
    let spec = pod.spec.iter();
    let containers = spec.flat_map(|spec| {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    });
    let mut names = BTreeSet::new();
    for container in containers {
        let whole = container.env_from.iter().flatten();
        names.extend(whole.filter_map(|from| Some(from.secret_ref.as_ref()?.name.clone())));
        let single = container.env.iter().flatten();
        names.extend(single.filter_map(|variable| {
            let from = variable.value_from.as_ref()?;
            Some(from.secret_key_ref.as_ref()?.name.clone())
        }));
    }
    names
}

/// The events about an object, the oldest first, as far as they are told.
async fn events(core: &Core, namespace: &str, uid: &str) -> Result<Vec<Value>, EngineError> {
    let api: Api<Event> = within(&core.client, namespace);
    let about = ListParams::default()
        .fields(&format!("involvedObject.uid={uid}"))
        .limit(EVENTS);
    let mut found = match api.list(&about).await {
        Ok(found) => found.items,
        // The pod is worth more than its history.
        Err(error) => {
            tracing::debug!(%error, "the events of a pod cannot be read");
            return Ok(Vec::new());
        }
    };
    found.sort_by_key(|event| {
        event
            .last_timestamp
            .clone()
            .or(event.first_timestamp.clone())
    });
    let told = |event: &Event| {
        value(&json!({
            "type": event.type_,
            "reason": event.reason,
            "message": event.message,
            "count": event.count,
            "first": event.first_timestamp,
            "last": event.last_timestamp,
            "from": event.source.as_ref().and_then(|source| source.component.clone()),
        }))
    };
    found.iter().map(told).collect()
}

fn value(object: &impl Serialize) -> Result<Value, EngineError> {
    serde_json::to_value(object).map_err(|error| EngineError::Failed {
        message: "what the cluster says cannot be written".to_owned(),
        source: Some(Box::new(error)),
    })
}

/// The variables are in a Secret, so that the object has their names only; their values may stand elsewhere in it.
fn hide(raw: Value, wish: Option<&Workload>, values: &[String]) -> Value {
    let env = wish.map_or(&[][..], |workload| &workload.template.env);
    let wished = env.iter().map(|(_, value)| value.expose());
    redact(raw, wished.chain(values.iter().map(String::as_str)))
}
