//! What Docker tells: a list at the start, its events afterwards, a slow rescan as a safety net.
//!
//! Theory of operation: an event is only the occasion to read a container anew, so nothing is lost when two
//! events arrive for one reading, or none for a change. The exception is an end: Docker starts the container
//! again within 100 ms, and by then its exit status can be read nowhere else but in the event. When the stream
//! breaks, the daemon is gone: the node is not ready, and everything is listed again when it is back.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptions, InspectContainerOptions, ListContainersOptions};
use chrono::{DateTime, Utc};
use coracle_engine::{EngineError, EngineEvent};
use coracle_model::pod::{Exit, ExitCause};
use coracle_task::Backoff;
use futures::StreamExt as _;

use crate::client::{engine_error, is_missing};
use crate::container::{Container, ContainerState};
use crate::cordon;
use crate::facts::PLATFORM;
use crate::node;
use crate::operate;
use crate::pod::{OpKind, Pod, Readiness};
use crate::probe::Question;
use crate::state::Core;

/// The safety net: events tell all of this much earlier.
const RESCAN: Duration = Duration::from_mins(1);
/// Containers that are inspected at once.
const READ_AT_ONCE: usize = 8;
/// A pod that ran before this process did is told as ready at once when it answers within this time.
const FIRST_ANSWER: Duration = Duration::from_millis(300);
/// Pauses between tries to reach the daemon.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Starts observing, and the timer of retries.
pub(crate) fn spawn(core: &Arc<Core>) {
    let owner = &core.config.supervisor;
    let observed = Arc::clone(core);
    owner.service(
        "docker-observe",
        Backoff::new(FIRST_RETRY, LAST_RETRY),
        move || {
            let core = Arc::clone(&observed);
            async move {
                let Err(error) = observe(&core).await;
                lost(&core, &error);
                Err::<(), _>(error)
            }
        },
    );
    let timed = Arc::clone(core);
    owner.service("docker-retries", Backoff::default(), move || {
        let core = Arc::clone(&timed);
        async move { retries(&core).await }
    });
}

/// Wakes workloads with a pod whose pause is over.
async fn retries(core: &Arc<Core>) -> Result<(), EngineError> {
    loop {
        let (due, next) = core.due();
        for workload in due {
            core.reconcile(&workload);
        }
        match next {
            Some(at) => tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = core.retries.notified() => {}
            },
            None => core.retries.notified().await,
        }
    }
}

fn filters(core: &Core, more: &[(&str, &str)]) -> HashMap<String, Vec<String>> {
    let mut filters: HashMap<String, Vec<String>> = more
        .iter()
        .map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]))
        .collect();
    filters.insert(
        "label".to_owned(),
        vec![format!("{PLATFORM}={}", core.config.platform)],
    );
    filters
}

async fn observe(core: &Arc<Core>) -> Result<Infallible, EngineError> {
    let docker = core.client.docker().await?;
    // Events from before the list on: what happens meanwhile is told twice rather than never.
    let since = Utc::now().timestamp();
    let mut events = Box::pin(docker.events(Some(EventsOptions {
        since: Some(since.to_string()),
        until: None,
        filters: Some(filters(core, &[("type", "container")])),
    })));
    // The cordon is a volume, and another control plane may have made it.
    let cordon = HashMap::from([
        ("type".to_owned(), vec!["volume".to_owned()]),
        ("volume".to_owned(), vec![core.names.cordon()]),
    ]);
    let mut cordons = Box::pin(docker.events(Some(EventsOptions {
        since: Some(since.to_string()),
        until: None,
        filters: Some(cordon),
    })));
    sync(core, &docker).await?;
    let mut rescan = tokio::time::interval(RESCAN);
    rescan.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    rescan.reset();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => handle(core, &docker, event).await?,
                Some(Err(error)) => return Err(engine_error(error)),
                None => return Err(EngineError::Unavailable("the daemon closed its stream of events".into())),
            },
            changed = cordons.next() => match changed {
                Some(Ok(_)) => cordon::read(core, &docker).await?,
                Some(Err(error)) => return Err(engine_error(error)),
                None => return Err(EngineError::Unavailable("the daemon closed its stream of events".into())),
            },
            _ = rescan.tick() => sync(core, &docker).await?,
        }
    }
}

fn lost(core: &Core, error: &EngineError) {
    core.client.forget();
    core.with(|state| {
        state.networks.clear();
        if let Some(mut node) = state.node.clone() {
            node.status.ready = false;
            node.status.reason = Some(format!("Docker does not answer: {}", cause(error)));
            state.set_node(node);
        }
    });
}

/// The innermost cause: the layers above it say that something failed.
fn cause(error: &EngineError) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// Compares all containers with what is known of them.
async fn sync(core: &Arc<Core>, docker: &Docker) -> Result<(), EngineError> {
    let info = docker.info().await.map_err(engine_error)?;
    // Before the node is told of: nobody shall think that it was open for a moment.
    cordon::read(core, docker).await?;
    core.with(|state| state.set_node(node::of_info(&info, state.running())));
    let ticket = core.ticket();
    let first = core.with(|state| !state.synced);
    let listed = docker
        .list_containers(Some(ListContainersOptions {
            all: true,
            filters: Some(filters(core, &[])),
            ..ListContainersOptions::default()
        }))
        .await
        .map_err(engine_error)?;
    let known: HashMap<String, ContainerState> = core.with(|state| {
        state
            .pods
            .values()
            .filter_map(|pod| pod.container.as_ref())
            .map(|container| (container.id.clone(), container.state))
            .collect()
    });
    let mut ids = BTreeSet::new();
    let mut changed = Vec::new();
    for summary in listed {
        let Some(id) = summary.id else { continue };
        let state = summary.state.map(|s| s.to_string()).unwrap_or_default();
        if known.get(&id).is_none_or(|known| !is_state(*known, &state)) {
            changed.push(id.clone());
        }
        ids.insert(id);
    }
    let readings = read_all(core, docker, changed).await?;
    let probed = first_answers(&readings, first).await;
    for (container, answer) in readings.into_iter().zip(probed) {
        core.take_in(container, ticket, answer);
    }
    for gone in core.with(|state| state.not_listed(&ids, ticket)) {
        core.vanished(&gone);
    }
    let wishes: Vec<_> = core.with(|state| {
        state.set_node(node::of_info(&info, state.running()));
        if !state.synced {
            state.synced = true;
            state.tell(EngineEvent::Synced);
        }
        state.wishes.keys().cloned().collect()
    });
    for workload in wishes {
        core.reconcile(&workload);
    }
    Ok(())
}

fn is_state(known: ContainerState, listed: &str) -> bool {
    match known {
        ContainerState::Created => listed == "created",
        ContainerState::Running => listed == "running",
        ContainerState::Paused => listed == "paused",
        ContainerState::Restarting => listed == "restarting",
        ContainerState::Ended => listed == "exited" || listed == "dead",
        ContainerState::Removing => listed == "removing",
    }
}

async fn read_all(
    core: &Core,
    docker: &Docker,
    ids: Vec<String>,
) -> Result<Vec<Container>, EngineError> {
    let mut readings = futures::stream::iter(ids)
        .map(|id| async move {
            docker
                .inspect_container(&id, None::<InspectContainerOptions>)
                .await
        })
        .buffer_unordered(READ_AT_ONCE);
    let mut containers = Vec::new();
    while let Some(reading) = readings.next().await {
        match reading {
            Ok(found) => containers.extend(Container::read(&core.config, &core.names, found)),
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(engine_error(error)),
        }
    }
    Ok(containers)
}

/// All containers of the platform as they are now.
pub(crate) async fn list(core: &Core, docker: &Docker) -> Result<Vec<Container>, EngineError> {
    let listed = docker
        .list_containers(Some(ListContainersOptions {
            all: true,
            filters: Some(filters(core, &[])),
            ..ListContainersOptions::default()
        }))
        .await
        .map_err(engine_error)?;
    let ids = listed.into_iter().filter_map(|c| c.id).collect();
    read_all(core, docker, ids).await
}

/// Pods that served before this process began must not be told as not ready, or they would lose their traffic for
/// as long as it takes to ask them: so they are asked before they are told of.
async fn first_answers(containers: &[Container], first: bool) -> Vec<Option<Readiness>> {
    let ask = |container: &Container| {
        let question =
            match (container.state, container.address, container.facts.port) {
                (ContainerState::Running, Some(address), Some(port)) if first => Some(
                    Question::new(address, port, container.facts.health.as_ref()),
                ),
                _ => None,
            };
        async move {
            match tokio::time::timeout(FIRST_ANSWER, question?.ask()).await {
                Ok(Ok(())) => Some(Readiness::Ready),
                _ => None,
            }
        }
    };
    futures::future::join_all(containers.iter().map(ask)).await
}

async fn handle(core: &Arc<Core>, docker: &Docker, event: EventMessage) -> Result<(), EngineError> {
    let action = event.action.unwrap_or_default();
    let actor = event.actor.unwrap_or_default();
    let Some(id) = actor.id else { return Ok(()) };
    if action == "start"
        && let Some(pod) = core.with(|state| state.pod_of(&id))
    {
        // What used up its memory is what ran before.
        core.change(&pod, |pod| pod.memory_used_up = false);
    }
    match action.as_str() {
        "destroy" => core.vanished(&id),
        "oom" => {
            if let Some(pod) = core.with(|state| state.pod_of(&id)) {
                core.change(&pod, Pod::used_up_memory);
            }
        }
        "die" => {
            let code = actor
                .attributes
                .and_then(|a| a.get("exitCode")?.parse().ok())
                .unwrap_or_default();
            let at = event.time_nano.map(DateTime::from_timestamp_nanos);
            died(core, &id, code, at);
            operate::read(core, docker, &id)
                .await
                .map_err(engine_error)?;
        }
        "create" | "start" | "stop" | "restart" | "pause" | "unpause" | "rename" => {
            operate::read(core, docker, &id)
                .await
                .map_err(engine_error)?;
        }
        _ => {}
    }
    Ok(())
}

fn died(core: &Core, container: &str, code: i64, at: Option<DateTime<Utc>>) {
    core.with(|state| {
        let Some(id) = state.pod_of(container) else {
            return;
        };
        if let Some(pod) = state.pods.get_mut(&id) {
            let ours = pod.leaving.is_some()
                || pod
                    .op
                    .as_ref()
                    .is_some_and(|op| matches!(op.kind, OpKind::Stop | OpKind::Restart { .. }));
            let cause = if std::mem::take(&mut pod.memory_used_up) {
                ExitCause::OutOfMemory
            } else if ours {
                ExitCause::Stopped
            } else {
                ExitCause::Exited
            };
            pod.exit = Some(Exit { code, cause, at });
        }
    });
}
