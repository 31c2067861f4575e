//! The actions: create, start and stop one pod.
//!
//! Theory of operation: each action is one task on one pod and may be ended at any line by a crash: what it did
//! is read from Docker afterwards and the planner goes on from there. Failures are written on the pod, with the
//! moment of the next try; only stopping tries again by itself, because nothing else may happen to the pod.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, RemoveContainerOptions, StartContainerOptions,
    StopContainerOptions,
};
use coracle_engine::EngineError;
use coracle_model::workload::{PodId, Workload};
use coracle_task::Backoff;

use crate::client::{engine_error, ignore_missing, is_missing, status_of, words_of};
use crate::container::{Container, create_body, start_error, whole_seconds};
use crate::facts::Facts;
use crate::pod::Severity;
use crate::reconcile::OpGuard;
use crate::state::Core;
use crate::{image, network, reference, volume};

/// So many addresses are tried when somebody else in the network has the one that was chosen.
const ADDRESS_TRIES: usize = 8;
/// More than the grace: what Docker may take to end a container.
pub(crate) const STOP_MARGIN: Duration = Duration::from_mins(1);

/// What a task does.
pub(crate) enum Task {
    /// Make and start a pod's container.
    Create(PodId, Arc<Workload>),
    /// Start a pod's container.
    Start(PodId),
    /// Drain, stop and remove a pod.
    Stop(PodId),
}

/// Begins a task.
pub(crate) fn spawn(core: &Arc<Core>, guard: OpGuard, task: Task) {
    let owner = core.config.supervisor.clone();
    let core = Arc::clone(core);
    match task {
        Task::Create(pod, workload) => owner.spawn("docker-create", async move {
            settle(&core, &pod, create(&core, &pod, &workload, &guard).await);
            drop(guard);
        }),
        Task::Start(pod) => owner.spawn("docker-start", async move {
            settle(&core, &pod, start(&core, &pod, &guard).await);
            drop(guard);
        }),
        Task::Stop(pod) => owner.spawn("docker-stop", async move {
            stop(&core, &pod).await;
            drop(guard);
        }),
    }
}

/// Why a pod could not be made or started.
enum Failure {
    /// It is not wanted any more.
    Cancelled,
    /// What a person must read.
    Shown(String, Severity),
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let severity = if error.is_passing() {
            Severity::Passing
        } else {
            Severity::Definite
        };
        Self::Shown(error.to_string(), severity)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        engine_error(error).into()
    }
}

fn settle(core: &Core, pod: &PodId, result: Result<(), Failure>) {
    core.change(pod, |pod| match result {
        Ok(()) => pod.trouble = None,
        Err(Failure::Cancelled) => {}
        Err(Failure::Shown(reason, severity)) => {
            tracing::warn!(pod = %pod.facts.pod, reason, "a pod cannot be started");
            pod.fail(reason, severity);
        }
    });
}

fn note(core: &Core, pod: &PodId, text: &str) {
    core.change(pod, |pod| pod.note = Some(text.to_owned()));
}

async fn create(
    core: &Arc<Core>,
    pod: &PodId,
    workload: &Workload,
    guard: &OpGuard,
) -> Result<(), Failure> {
    let docker = core.client.docker().await?;
    let facts = Facts::new(workload, pod.name.clone());
    // The workload may be newer than the record that waited for it.
    core.change(pod, |record| {
        if record.container.is_none() {
            record.facts = facts.clone();
        }
    });
    // Nobody may want it any more; then its project's network must not be made again.
    guard
        .cancel
        .run_until_cancelled(network::ensure(core, &pod.project))
        .await
        .ok_or(Failure::Cancelled)??;
    for mount in &workload.template.volumes {
        volume::ensure(core, &pod.project, &mount.volume, None).await?;
    }
    note(core, pod, "it waits for its turn to start");
    let turn = guard
        .cancel
        .run_until_cancelled(core.starts.acquire())
        .await
        .ok_or(Failure::Cancelled)?;
    note(core, pod, "it is being started");
    let mut pulled = false;
    let asked = &workload.template.image;
    let Some(mut image) = reference::exact(asked) else {
        let reason = format!("image {asked}: an image's id has 64 digits");
        return Err(Failure::Shown(reason, Severity::Definite));
    };
    for _ in 0..ADDRESS_TRIES {
        if guard.cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        let address = network::reserve(core, pod)?;
        match make(core, &docker, &facts, workload, &image, address).await {
            Ok(id) => match begin(core, &docker, &facts, &id).await {
                Ok(()) => {
                    drop(turn);
                    return Ok(());
                }
                Err(error) if is_address_taken(&error) => {
                    avoid(core, pod, address);
                    remove(&docker, &id).await?;
                    core.change(pod, |record| record.container = None);
                }
                Err(error) => return Err(start_failure(core, &facts, error)),
            },
            Err(error) if is_missing(&error) && is_about_image(&error) && !pulled => {
                pulled = true;
                note(core, pod, "its image is being pulled");
                image = guard
                    .cancel
                    .run_until_cancelled(image::pull_for(core, &docker, &pod.project, asked))
                    .await
                    .ok_or(Failure::Cancelled)??;
                note(core, pod, "it is being started");
            }
            Err(error) if status_of(&error) == Some(409) => {
                return adopt(core, &docker, &facts).await;
            }
            Err(error) => return Err(start_failure(core, &facts, error)),
        }
    }
    Err(Failure::Shown(
        "every address that was tried is taken by somebody else".to_owned(),
        Severity::Passing,
    ))
}

async fn make(
    core: &Core,
    docker: &Docker,
    facts: &Facts,
    workload: &Workload,
    image: &str,
    address: Ipv4Addr,
) -> Result<String, Error> {
    let options = CreateContainerOptions {
        name: Some(core.names.container(&facts.pod)),
        ..CreateContainerOptions::default()
    };
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        ..create_body(
            &core.config,
            &core.names,
            facts,
            &workload.template,
            address,
            core.init,
        )
    };
    Ok(docker.create_container(Some(options), body).await?.id)
}

/// Starts a container that was just made, unless it waits for somebody to attach, and reads it.
async fn begin(core: &Arc<Core>, docker: &Docker, facts: &Facts, id: &str) -> Result<(), Error> {
    if facts.kind.terminal().is_some() {
        return read(core, docker, id).await;
    }
    let started = docker
        .start_container(id, None::<StartContainerOptions>)
        .await;
    // Read in any case: a failed start leaves a container behind.
    let reading = read(core, docker, id).await;
    started.and(reading)
}

/// The name is taken: by a container that we made before a crash, or by a stranger's.
async fn adopt(core: &Arc<Core>, docker: &Docker, facts: &Facts) -> Result<(), Failure> {
    let name = core.names.container(&facts.pod);
    let ticket = core.ticket();
    let found = docker
        .inspect_container(&name, None::<InspectContainerOptions>)
        .await?;
    match Container::read(&core.config, &core.names, found) {
        Some(container) => {
            core.take_in(container, ticket, None);
            Ok(())
        }
        None => Err(Failure::Shown(
            format!(
                "the container name {name} is taken by a container that is not this platform's"
            ),
            Severity::Definite,
        )),
    }
}

fn avoid(core: &Core, pod: &PodId, address: Ipv4Addr) {
    core.with(|state| {
        if let Some(network) = state.networks.get_mut(&pod.project) {
            network.avoid.insert(address);
        }
    });
}

fn is_address_taken(error: &Error) -> bool {
    words_of(error)
        .to_lowercase()
        .contains("address already in use")
}

fn is_about_image(error: &Error) -> bool {
    words_of(error).to_lowercase().contains("no such image")
}

fn start_failure(core: &Core, facts: &Facts, error: Error) -> Failure {
    let words = words_of(&error);
    let lower = words.to_lowercase();
    if lower.contains("network") && lower.contains("not found") {
        // Somebody removed it: the next try makes it anew.
        core.with(|state| state.networks.remove(&facts.pod.project));
        return Failure::Shown(words, Severity::Passing);
    }
    if status_of(&error).is_none() {
        return error.into();
    }
    let definite = [
        "executable file not found",
        "permission denied",
        "exec format error",
        "no such file or directory",
        "invalid",
        "no command specified",
        "unable to find user",
    ];
    let severity = if definite.iter().any(|sign| lower.contains(sign)) {
        Severity::Definite
    } else {
        Severity::Passing
    };
    Failure::Shown(start_error(&words), severity)
}

/// Reads a container and takes it in.
pub(crate) async fn read(core: &Arc<Core>, docker: &Docker, id: &str) -> Result<(), Error> {
    let ticket = core.ticket();
    match docker
        .inspect_container(id, None::<InspectContainerOptions>)
        .await
    {
        Ok(found) => {
            if let Some(container) = Container::read(&core.config, &core.names, found) {
                core.take_in(container, ticket, None);
            }
            Ok(())
        }
        Err(error) if is_missing(&error) => {
            core.vanished(id);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

async fn start(core: &Arc<Core>, pod: &PodId, guard: &OpGuard) -> Result<(), Failure> {
    let docker = core.client.docker().await?;
    network::ensure(core, &pod.project).await?;
    let known = core.with(|state| {
        let record = state.pods.get(pod)?;
        let container = record.container.as_ref()?;
        Some((container.id.clone(), record.facts.clone()))
    });
    let Some((id, facts)) = known else {
        return Ok(());
    };
    note(core, pod, "it waits for its turn to start");
    let _turn = guard
        .cancel
        .run_until_cancelled(core.starts.acquire())
        .await
        .ok_or(Failure::Cancelled)?;
    note(core, pod, "it is being started");
    let started = docker
        .start_container(&id, None::<StartContainerOptions>)
        .await;
    read(core, &docker, &id).await?;
    match started {
        Ok(()) => Ok(()),
        Err(error) if is_missing(&error) && !words_of(&error).contains("exec") => {
            // Gone meanwhile, or its network is: begin anew.
            core.with(|state| state.networks.remove(&pod.project));
            remove(&docker, &id).await?;
            core.change(pod, |record| record.container = None);
            Err(Failure::Shown(words_of(&error), Severity::Passing))
        }
        Err(error) if is_address_taken(&error) => {
            // It must have another address, and that is given when a container is made.
            if let Some(address) = core.change(pod, |record| record.address).flatten() {
                avoid(core, pod, address);
            }
            remove(&docker, &id).await?;
            core.change(pod, |record| record.container = None);
            Err(Failure::Shown(words_of(&error), Severity::Passing))
        }
        Err(error) => Err(start_failure(core, &facts, error)),
    }
}

async fn remove(docker: &Docker, id: &str) -> Result<(), Error> {
    let options = RemoveContainerOptions {
        force: true,
        ..RemoveContainerOptions::default()
    };
    ignore_missing(docker.remove_container(id, Some(options)).await)
}

/// Waits until no request is in flight to a pod, at most for its drain time.
pub(crate) async fn drain(drained: &coracle_task::CancellationToken, most: Duration) {
    if tokio::time::timeout(most, drained.cancelled())
        .await
        .is_err()
    {
        tracing::debug!("the drain time was over");
    }
}

async fn stop(core: &Arc<Core>, pod: &PodId) {
    let leaving = core.with(|state| {
        let record = state.pods.get(pod)?;
        Some((record.leaving.clone()?, record.facts.clone()))
    });
    let Some((leaving, facts)) = leaving else {
        return;
    };
    if leaving.served {
        drain(&leaving.drained, facts.drain).await;
    }
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(15));
    loop {
        let id = core.with(|state| {
            let container = state.pods.get(pod)?.container.as_ref()?;
            Some(container.id.clone())
        });
        let Some(id) = id else { break };
        match end(core, &id, facts.grace).await {
            Ok(()) => break,
            Err(error) => {
                tracing::warn!(%pod, %error, "a pod cannot be stopped yet");
                core.change(pod, |record| {
                    if let Some(leaving) = &mut record.leaving {
                        leaving.reason = Some(error.to_string());
                    }
                });
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
    core.with(|state| state.forget(pod));
    core.reconcile(&facts.workload);
}

/// SIGTERM, the grace, SIGKILL, removal.
async fn end(core: &Core, id: &str, grace: Duration) -> Result<(), EngineError> {
    let docker = core.client.docker().await?;
    let patient = docker.clone().with_timeout(grace + STOP_MARGIN);
    let options = StopContainerOptions {
        signal: None,
        t: Some(i32::try_from(whole_seconds(grace)).unwrap_or(i32::MAX)),
    };
    ignore_missing(patient.stop_container(id, Some(options)).await).map_err(engine_error)?;
    remove(&docker, id).await.map_err(engine_error)
}
