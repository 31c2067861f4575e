//! What a release's process or command is as a workload.
//!
//! Theory of operation: a release is immutable once its image is pinned, so what is made of it here is the
//! same every time, but for the number of pods. Therefore a workload's generation is the release's number,
//! and telling the engine the same wish again changes nothing.

use std::time::Duration;

use crate::app::App;
use crate::env::{EnvValue, EnvVars, Secret};
use crate::name::{AppName, EnvName, ProcessName, ProjectName};
use crate::plan::{Policy, naming};
use crate::release::{ProcessSpec, Release, ReleaseNumber};
use crate::workload::{
    Mount, Owner, PodTemplate, Resources, TaskStart, Workload, WorkloadId, WorkloadKind,
};

/// The port of a web process when neither its manifest nor its image says one.
pub const DEFAULT_PORT: u16 = 8080;

/// What part of a release a workload runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// One of its processes, in so many pods.
    Process {
        /// Which.
        name: ProcessName,
        /// How many pods.
        replicas: u32,
    },
    /// Its release command, once.
    ReleaseCommand,
}

/// A workload that is wished: enough to make it from the release, and to see whether the wish is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Names the workload.
    pub id: WorkloadId,
    /// Of which release.
    pub release: ReleaseNumber,
    /// That release's identity: numbers begin again when an app is made anew under the same name.
    pub release_uid: String,
    /// Which part of it.
    pub job: Job,
}

impl Wish {
    /// A process of a release in so many pods.
    #[must_use]
    pub fn process(
        project: &ProjectName,
        app: &AppName,
        release: &Release,
        name: &ProcessName,
        replicas: u32,
    ) -> Self {
        Self {
            id: naming::process(project, app, name, release.spec.number),
            release: release.spec.number,
            release_uid: release.metadata.uid.clone(),
            job: Job::Process {
                name: name.clone(),
                replicas,
            },
        }
    }

    /// The release command of a release.
    #[must_use]
    pub fn command(project: &ProjectName, app: &AppName, release: &Release) -> Self {
        Self {
            id: naming::release_command(project, app, release.spec.number),
            release: release.spec.number,
            release_uid: release.metadata.uid.clone(),
            job: Job::ReleaseCommand,
        }
    }
}

/// How many pods a process of a release should have now.
#[must_use]
pub fn replicas(app: &App, process: &ProcessName, spec: &ProcessSpec) -> u32 {
    app.spec
        .scale
        .get(process)
        .copied()
        .unwrap_or(spec.replicas)
        .min(ProcessSpec::MOST_REPLICAS)
}

/// The port of a process of a release, if it has one: the manifest's; else, for `web`, the one that the image
/// exposes if that is a single one, else [`DEFAULT_PORT`].
#[must_use]
pub fn port(release: &Release, process: &ProcessName) -> Option<u16> {
    let spec = release.spec.config.processes.get(process)?;
    if spec.port.is_some() || !process.is_web() {
        return spec.port;
    }
    match release
        .status
        .image
        .as_ref()
        .map(|image| image.ports.as_slice())
    {
        Some([one]) => Some(*one),
        _ => Some(DEFAULT_PORT),
    }
}

/// The variables of a job, secret ones still sealed.
#[must_use]
pub fn environment(project: &ProjectName, release: &Release, job: &Job) -> EnvVars {
    match job {
        Job::Process { name, .. } => {
            variables(project, release, name.as_str(), port(release, name))
        }
        Job::ReleaseCommand => variables(project, release, "release", None),
    }
}

/// The variables of something that runs with a release's image, secret ones still sealed. `process` is what
/// it is called in `CORACLE_PROCESS`.
///
/// Later ones win: the manifest's, the app's own, the platform's (`PORT`, `CORACLE_APP`, `CORACLE_PROJECT`,
/// `CORACLE_PROCESS`, `CORACLE_RELEASE`). The platform's `PORT` wins because it is the port that is probed and
/// routed to: an app that listens on another would never be ready.
#[must_use]
pub fn variables(
    project: &ProjectName,
    release: &Release,
    process: &str,
    port: Option<u16>,
) -> EnvVars {
    let manifest = release.spec.config.env.iter();
    let mut vars: EnvVars = manifest
        .map(|(name, value)| (name.clone(), EnvValue::Plain(value.clone())))
        .collect();
    vars.extend(release.spec.env.clone());
    let own = [
        ("CORACLE_APP", Some(release.spec.app.to_string())),
        ("CORACLE_PROJECT", Some(project.to_string())),
        ("CORACLE_RELEASE", Some(release.spec.number.to_string())),
        ("CORACLE_PROCESS", Some(process.to_owned())),
        ("PORT", port.map(|port| port.to_string())),
    ];
    vars.extend(
        own.into_iter()
            .filter_map(|(name, value)| Some((EnvName::new(name).ok()?, EnvValue::Plain(value?)))),
    );
    vars
}

/// The volumes that every pod of a release mounts.
#[must_use]
pub fn mounts(release: &Release) -> Vec<Mount> {
    let mounts = release.spec.config.volumes.iter();
    mounts
        .map(|mount| Mount {
            volume: naming::volume(&release.spec.app, &mount.name),
            path: mount.path.clone(),
        })
        .collect()
}

/// The workload of a wish; `None` as long as the image is not pinned, or when the release has no such job.
///
/// `env` is what [`environment`] says, opened.
#[must_use]
pub fn workload(
    project: &ProjectName,
    release: &Release,
    wish: &Wish,
    env: Vec<(EnvName, Secret)>,
    policy: &Policy,
) -> Option<Workload> {
    let image = release.status.image.as_ref()?.reference.clone();
    let config = &release.spec.config;
    let app = &release.spec.app;
    let volumes = mounts(release);
    let (kind, process, template) = match &wish.job {
        Job::Process { name, replicas } => {
            let spec = config.processes.get(name)?;
            let template = PodTemplate {
                image,
                command: spec.command.clone(),
                env,
                port: port(release, name),
                names: naming::dns(project, app, name),
                resources: Resources {
                    cpu: spec.cpu,
                    memory: spec.memory,
                },
                health: spec.health.clone(),
                volumes,
                stop_grace: spec.stop_grace.0,
                // Only pods that the gateway sends requests to have any to wait for.
                drain: if name.is_web() {
                    policy.drain
                } else {
                    Duration::ZERO
                },
            };
            let kind = WorkloadKind::Replicated {
                replicas: *replicas,
            };
            (kind, Some(name.clone()), template)
        }
        Job::ReleaseCommand => {
            // It is a job for the machine of the largest process: `web` when there is one.
            let like = config
                .processes
                .get(&ProcessName::web())
                .or_else(|| config.processes.values().next());
            let template = PodTemplate {
                image,
                command: Some(config.release_command.clone()?),
                env,
                port: None,
                names: Vec::new(),
                resources: Resources {
                    cpu: like.and_then(|spec| spec.cpu),
                    memory: like.and_then(|spec| spec.memory),
                },
                health: None,
                volumes,
                stop_grace: like.map_or(Duration::from_secs(10), |spec| spec.stop_grace.0),
                drain: Duration::ZERO,
            };
            let kind = WorkloadKind::Task {
                start: TaskStart::AtOnce,
            };
            (kind, None, template)
        }
    };
    Some(Workload {
        id: wish.id.clone(),
        generation: u64::from(release.spec.number.0),
        kind,
        owner: Owner {
            app: Some(app.clone()),
            process,
            release: Some(release.spec.number),
        },
        template,
    })
}
