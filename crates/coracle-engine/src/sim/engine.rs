//! [`SimEngine`] as an [`Engine`].

use std::sync::Arc;

use async_trait::async_trait;
use coracle_model::name::{ImageRef, ProjectName, VolumeName};
use coracle_model::node::{Node, NodeResources, Scheduling};
use coracle_model::pod::PodStats;
use coracle_model::quantity::ByteSize;
use coracle_model::workload::{PodId, Workload, WorkloadId, WorkloadKind};
use futures::stream::BoxStream;

use super::SimEngine;
use super::build::{self, PUSHED};
use super::console::Console;
use super::image::Place;
use super::journal::Act;
use super::pod::{Life, Stage, Then};
use super::session::{self, PIPE_BYTES};
use super::state::{Daemon, State};
use super::watch;
use crate::build::{BuildProgress, BuildRequest, BuiltImage, PullCredentials, RegistryCredentials};
use crate::engine::{
    Capabilities, Engine, EngineEvent, EngineVersion, ImageInfo, Restarts, Support, VolumeInfo,
};
use crate::error::EngineError;
use crate::fault::{Answer, Verb, unavailable};
use crate::stream::{Duplex, ExecRequest, LogRequest, LogStream, Session};
use crate::usage::EngineUsage;
use crate::wish::Wish;

impl SimEngine {
    /// Latency, faults, daemon and death that stand before every call.
    async fn enter(&self, verb: Verb) -> Result<Answer, EngineError> {
        let (latency, fault) = self
            .world
            .with(|state| (state.draw(|l| l.call), state.fault(verb)));
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let answer = match fault {
            Some(fault) => fault.before().await?,
            None => Answer::Given,
        };
        self.world.with(|state| {
            if state
                .seat
                .as_ref()
                .is_none_or(|seat| seat.number != self.seat)
            {
                return Err(unavailable("this engine's process is dead"));
            }
            match state.daemon {
                Daemon::Up => Ok(answer),
                Daemon::Down => Err(unavailable("the daemon does not answer")),
            }
        })
    }

    async fn call<T>(
        &self,
        verb: Verb,
        act: impl FnOnce(&mut State) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let answer = self.enter(verb).await?;
        let result = self.world.with(act);
        match answer {
            Answer::Given => result,
            Answer::Lost => Err(unavailable("the answer was lost")),
        }
    }
}

impl State {
    fn wish(&mut self, id: &WorkloadId, wish: Wish) {
        if let Some(seat) = &mut self.seat {
            seat.wishes.insert(id.clone(), wish);
        }
        self.touched.insert(id.clone());
    }

    fn existing(&self, id: &PodId) -> Result<&super::pod::SimPod, EngineError> {
        self.pods
            .get(id)
            .ok_or_else(|| EngineError::NoSuchPod(id.clone()))
    }

    /// The pod, if a command can be run beside its own.
    fn running(&self, id: &PodId) -> Result<&super::pod::SimPod, EngineError> {
        let pod = self.existing(id)?;
        if pod.stage == Stage::Running {
            return Ok(pod);
        }
        Err(EngineError::WrongPhase {
            pod: id.clone(),
            phase: pod.phase().word(),
            reason: "it does not run",
        })
    }

    fn users_of(&self, project: &ProjectName, volume: &VolumeName) -> Vec<PodId> {
        let mounts = |pod: &&super::pod::SimPod| {
            let volumes = &pod.made_from.template.volumes;
            pod.id.project == *project && volumes.iter().any(|mount| mount.volume == *volume)
        };
        self.pods
            .values()
            .filter(mounts)
            .map(|pod| pod.id.clone())
            .collect()
    }
}

#[async_trait]
impl Engine for SimEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "sim",
            builds: Support::Yes,
            volume_sizes: Support::No,
            restarts: Restarts::InPlace,
            own_names: Support::Yes,
            log_channels: Support::Yes,
            input_end: Support::Yes,
            connection_end: Support::Yes,
            process_counts: Support::Yes,
        }
    }

    async fn ping(&self) -> Result<EngineVersion, EngineError> {
        self.call(Verb::Ping, |_| {
            Ok(EngineVersion {
                software: "sim".into(),
                api: "1".into(),
            })
        })
        .await
    }

    async fn ensure_project(&self, project: &ProjectName) -> Result<(), EngineError> {
        self.call(Verb::EnsureProject, |state| {
            state
                .ensure_network(project)
                .ok_or_else(|| EngineError::Full("there is no subnet left".into()))
        })
        .await
    }

    async fn set_pull_credentials(
        &self,
        project: &ProjectName,
        pull: &PullCredentials,
    ) -> Result<(), EngineError> {
        self.call(Verb::SetPullCredentials, |state| {
            state.pulls.insert(project.clone(), pull.clone());
            Ok(())
        })
        .await
    }

    async fn remove_project(&self, project: &ProjectName) -> Result<(), EngineError> {
        self.call(Verb::RemoveProject, |state| {
            state.pulls.remove(project);
            if let Some(network) = state.networks.get_mut(project) {
                network.removing = true;
            }
            let wished: Vec<WorkloadId> = state
                .seat
                .iter()
                .flat_map(|seat| seat.wishes.keys())
                .filter(|id| id.project == *project)
                .cloned()
                .collect();
            for id in wished {
                state.wish(&id, Wish::Gone);
            }
            let pods: Vec<PodId> = state
                .pods
                .keys()
                .filter(|id| id.project == *project)
                .cloned()
                .collect();
            if pods.is_empty() {
                state.networks.remove(project);
            }
            for pod in pods {
                state.stop_pod(
                    &pod,
                    Then::Gone,
                    Some("its project is being removed".into()),
                );
            }
            Ok(())
        })
        .await
    }

    async fn apply(&self, workload: Workload) -> Result<(), EngineError> {
        self.call(Verb::Apply, |state| {
            state
                .ensure_network(&workload.id.project)
                .ok_or_else(|| EngineError::Full("there is no subnet left".into()))?;
            state.note(Act::Applied {
                workload: workload.id.clone(),
                generation: workload.generation,
                kind: workload.kind,
            });
            let id = workload.id.clone();
            state.wish(&id, Wish::Run(Arc::new(workload)));
            Ok(())
        })
        .await
    }

    async fn remove(&self, id: &WorkloadId) -> Result<(), EngineError> {
        self.call(Verb::Remove, |state| {
            state.note(Act::Removed(id.clone()));
            state.wish(id, Wish::Gone);
            Ok(())
        })
        .await
    }

    async fn drained(&self, pod: &PodId) -> Result<(), EngineError> {
        self.call(Verb::Drained, |state| {
            let stopping = state
                .pods
                .get_mut(pod)
                .and_then(|pod| pod.stopping.as_mut());
            if let Some(stopping) = stopping {
                stopping.drained = true;
                state.note(Act::Drained(pod.clone()));
                state.signal(pod);
            }
            Ok(())
        })
        .await
    }

    async fn restart(&self, pod: &PodId) -> Result<(), EngineError> {
        self.call(Verb::Restart, |state| {
            let found = state.existing(pod)?;
            if found.stage == Stage::Ended {
                return Err(EngineError::WrongPhase {
                    pod: pod.clone(),
                    phase: found.phase().word(),
                    reason: "a task runs once",
                });
            }
            state.stop_pod(pod, Then::Again, None);
            Ok(())
        })
        .await
    }

    async fn delete_pod(&self, pod: &PodId) -> Result<(), EngineError> {
        self.call(Verb::DeletePod, |state| {
            let found = state.existing(pod)?;
            let workload = found.made_from.id.clone();
            let single = !matches!(found.made_from.kind, WorkloadKind::Replicated { .. });
            // Nothing comes in the place of a pod that stands alone: its deletion is the last wish.
            if single {
                state.wish(&workload, Wish::Gone);
            }
            state.stop_pod(pod, Then::Gone, None);
            state.touched.insert(workload);
            Ok(())
        })
        .await
    }

    fn watch(&self) -> BoxStream<'static, EngineEvent> {
        watch::watch(&self.world, self.seat)
    }

    async fn logs(&self, pod: &PodId, request: LogRequest) -> Result<LogStream, EngineError> {
        self.call(Verb::Logs, |state| {
            Ok(state.existing(pod)?.log.read(&request))
        })
        .await
    }

    async fn exec(&self, pod: &PodId, request: ExecRequest) -> Result<Session, EngineError> {
        let console = Arc::new(Console::default());
        let seen = Arc::clone(&console);
        let key = self
            .call(Verb::Exec, |state| {
                state.running(pod)?;
                Ok(state.exec(pod, &request, console))
            })
            .await?;
        Ok(session::session(&self.world, key, seen))
    }

    async fn attach(&self, pod: &PodId) -> Result<Session, EngineError> {
        let console = Arc::new(Console::default());
        let seen = Arc::clone(&console);
        let key = self
            .call(Verb::Attach, |state| {
                let found = state.existing(pod)?;
                if found.stage != Stage::Attachable {
                    return Err(EngineError::WrongPhase {
                        pod: pod.clone(),
                        phase: found.phase().word(),
                        reason: "it is no task that waits for somebody to attach",
                    });
                }
                state.live(pod, Life::Started);
                let main = state.pods.get(pod).and_then(|pod| pod.main);
                let process = main.and_then(|key| state.processes.get_mut(&key));
                match (main, process) {
                    (Some(key), Some(process)) => {
                        process.console = Some(console);
                        Ok(key)
                    }
                    _ => Err(unavailable("the command could not be started")),
                }
            })
            .await?;
        Ok(session::session(&self.world, key, seen))
    }

    async fn describe(&self, pod: &PodId) -> Result<serde_json::Value, EngineError> {
        self.call(Verb::Describe, |state| Ok(state.existing(pod)?.describe()))
            .await
    }

    async fn connect(&self, pod: &PodId, port: u16) -> Result<Box<dyn Duplex>, EngineError> {
        let alive = self
            .call(Verb::Connect, |state| {
                let found = state.running(pod)?;
                match found.listening.get(&port) {
                    Some(service) => Ok((!found.hung).then(|| (found.alive.clone(), *service))),
                    None => Err(session::refused(pod, port)),
                }
            })
            .await?;
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let world = Arc::downgrade(&self.world);
        let pod = pod.clone();
        self.world.tasks.spawn("connection", async move {
            match alive {
                Some((alive, service)) => {
                    let serving = session::serve(world, pod, service, theirs);
                    let _ended = alive.run_until_cancelled_owned(serving).await;
                }
                // It hangs: the connection stands and nothing comes.
                None => {
                    std::future::pending::<()>().await;
                    drop(theirs);
                }
            }
        });
        Ok(Box::new(ours))
    }

    async fn stats(&self, pod: &PodId) -> Result<PodStats, EngineError> {
        self.call(Verb::Stats, |state| {
            let now = state.wall();
            let found = state.running(pod)?;
            let ran = found
                .started
                .map_or(0, |started| (now - started).num_milliseconds());
            let limit = found.made_from.template.resources.memory;
            Ok(PodStats {
                // One percent of a processor since its start.
                cpu_nanos: u64::try_from(ran).unwrap_or(0) * 10_000,
                cpu: Some(0.01),
                memory_bytes: POD_MEMORY,
                memory_limit_bytes: limit.map(|limit| limit.0),
                network_rx_bytes: 0,
                network_tx_bytes: 0,
                pids: 1,
            })
        })
        .await
    }

    async fn usage(&self) -> Result<EngineUsage, EngineError> {
        self.call(Verb::Usage, |state| Ok(state.usage())).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, EngineError> {
        self.call(Verb::Nodes, |state| {
            let names: Vec<String> = state.nodes.keys().cloned().collect();
            let report = |name: String| {
                let on = state
                    .pods
                    .values()
                    .filter(|p| p.node.as_deref() == Some(&name));
                let pods = u32::try_from(on.count()).unwrap_or(u32::MAX);
                let used = NodeResources {
                    cpu: 0.01 * f64::from(pods),
                    memory_bytes: POD_MEMORY * u64::from(pods),
                    disk_bytes: None,
                    pods: Some(pods),
                };
                state.node(&name, pods, Some(used))
            };
            Ok(names.into_iter().map(report).collect())
        })
        .await
    }

    async fn cordon(&self, node: &str) -> Result<(), EngineError> {
        self.call(Verb::Cordon, |state| {
            state.schedule_on(node, Scheduling::Cordoned)
        })
        .await
    }

    async fn uncordon(&self, node: &str) -> Result<(), EngineError> {
        self.call(Verb::Uncordon, |state| {
            state.schedule_on(node, Scheduling::Open)
        })
        .await
    }

    async fn resolve_image(
        &self,
        image: &ImageRef,
        _credentials: Option<&RegistryCredentials>,
    ) -> Result<ImageInfo, EngineError> {
        let answer = self.enter(Verb::ResolveImage).await?;
        let missing = || EngineError::ImageUnavailable {
            image: image.to_string(),
            reason: "there is no such image".into(),
        };
        let place = self
            .world
            .with(|state| state.find_image(image.as_str()).map(|image| image.place));
        if place.ok_or_else(missing)? == Place::Registry {
            let pull = self.world.with(|state| state.draw(|l| l.pull));
            tokio::time::sleep(pull).await;
        }
        let info = self.world.with(|state| {
            let found = state.find_image_mut(image.as_str())?;
            found.place = Place::Here;
            Some((
                found.reference.clone(),
                found.id.clone(),
                found.ports.clone(),
            ))
        });
        let (reference, id, ports) = info.ok_or_else(missing)?;
        // What came from a registry is pinned by its path there; what was only ever local by its id.
        let pinned = match (place, reference.contains('@')) {
            (_, true) => reference,
            (Some(Place::Registry), false) => {
                let (path, _tag) = reference.rsplit_once(':').unwrap_or((&reference, ""));
                format!("{path}@{id}")
            }
            _ => id,
        };
        let pinned =
            ImageRef::new(pinned).map_err(|error| EngineError::Refused(error.to_string()))?;
        match answer {
            Answer::Lost => Err(unavailable("the answer was lost")),
            Answer::Given => Ok(ImageInfo {
                pinned,
                ports,
                bytes: PUSHED,
            }),
        }
    }

    async fn remove_image(&self, image: &ImageRef) -> Result<(), EngineError> {
        self.call(Verb::RemoveImage, |state| {
            // Gone from here; a registry's image can be fetched again, and so can a built one.
            let used = state
                .pods
                .values()
                .any(|pod| pod.made_from.template.image == *image);
            if !used && let Some(found) = state.find_image_mut(image.as_str()) {
                found.place = Place::Registry;
            }
            Ok(())
        })
        .await
    }

    async fn build(
        &self,
        request: BuildRequest,
        progress: BuildProgress,
    ) -> Result<BuiltImage, EngineError> {
        let answer = self.enter(Verb::Build).await?;
        let built = build::build(self, request, progress).await;
        match answer {
            Answer::Given => built,
            Answer::Lost => Err(unavailable("the answer was lost")),
        }
    }

    async fn ensure_volume(
        &self,
        project: &ProjectName,
        volume: &VolumeName,
        size: Option<ByteSize>,
    ) -> Result<(), EngineError> {
        self.call(Verb::EnsureVolume, |state| {
            let key = (project.clone(), volume.clone());
            let found = state.volumes.entry(key).or_default();
            found.size = found.size.or(size);
            Ok(())
        })
        .await
    }

    async fn volumes(&self) -> Result<Vec<VolumeInfo>, EngineError> {
        self.call(Verb::Volumes, |state| {
            let info =
                |((project, name), volume): (&(ProjectName, VolumeName), &super::state::Volume)| {
                    let users = state.users_of(project, name);
                    VolumeInfo {
                        project: project.clone(),
                        name: name.clone(),
                        size: volume.size,
                        created: None,
                        used_bytes: None,
                        used_by: users.into_iter().map(|id| id.name).collect(),
                    }
                };
            Ok(state.volumes.iter().map(info).collect())
        })
        .await
    }

    async fn remove_volume(
        &self,
        project: &ProjectName,
        volume: &VolumeName,
    ) -> Result<(), EngineError> {
        self.call(Verb::RemoveVolume, |state| {
            if let Some(user) = state.users_of(project, volume).first() {
                return Err(EngineError::Refused(format!(
                    "volume {volume} is used by pod {user}"
                )));
            }
            state.volumes.remove(&(project.clone(), volume.clone()));
            Ok(())
        })
        .await
    }
}

/// Bytes of memory that every simulated pod uses.
pub(super) const POD_MEMORY: u64 = 4 << 20;
