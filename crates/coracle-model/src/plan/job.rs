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

    /// One pod more, unless it is meant to have none.
    pub fn surge(&mut self) {
        if let Job::Process { replicas, .. } = &mut self.job
            && *replicas > 0
        {
            *replicas += 1;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::DateTime;

    use super::*;
    use crate::name::{ImageRef, VolumeName};
    use crate::object::{Kind, Metadata};
    use crate::release::{
        CommandLine, Origin, PinnedImage, ReleaseSpec, ReleaseStatus, RunConfig, VolumeMount,
    };

    fn release(ports: &[u16], web_port: Option<u16>) -> Release {
        let name = |name: &str| EnvName::new(name).unwrap();
        let spec = |port| ProcessSpec {
            port,
            ..ProcessSpec::default()
        };
        let plain = |value: &str| EnvValue::Plain(value.to_owned());
        Release {
            kind: Kind::Release,
            metadata: Metadata {
                name: "v3".into(),
                project: None,
                uid: "u".into(),
                revision: 1,
                created: DateTime::UNIX_EPOCH,
                deleting: None,
            },
            spec: ReleaseSpec {
                app: AppName::new("hello").unwrap(),
                number: ReleaseNumber(3),
                image: ImageRef::new("hello:1").unwrap(),
                config: RunConfig {
                    processes: BTreeMap::from([
                        (ProcessName::web(), spec(web_port)),
                        (ProcessName::new("worker").unwrap(), spec(None)),
                    ]),
                    env: BTreeMap::from([
                        (name("A"), "manifest".to_owned()),
                        (name("B"), "manifest".to_owned()),
                        (name("PORT"), "1".to_owned()),
                    ]),
                    release_command: Some(CommandLine::Shell("migrate".into())),
                    volumes: vec![VolumeMount {
                        name: VolumeName::new("data").unwrap(),
                        path: "/data".into(),
                        size: None,
                    }],
                },
                env: BTreeMap::from([
                    (name("B"), plain("app")),
                    (name("CORACLE_APP"), plain("other")),
                    (name("S"), EnvValue::Sealed("…".into())),
                ]),
                origin: Origin::Image,
                created_by: "ann".into(),
            },
            status: ReleaseStatus {
                image: Some(PinnedImage {
                    reference: ImageRef::new("hello@sha256:00").unwrap(),
                    ports: ports.to_vec(),
                }),
                ..ReleaseStatus::default()
            },
        }
    }

    #[test]
    fn a_port_is_the_manifests_else_the_images_only_one_else_8080() {
        let web = ProcessName::web();
        assert_eq!(port(&release(&[80], Some(3000)), &web), Some(3000));
        assert_eq!(port(&release(&[80], None), &web), Some(80));
        assert_eq!(port(&release(&[80, 443], None), &web), Some(8080));
        assert_eq!(port(&release(&[], None), &web), Some(8080));
        let worker = ProcessName::new("worker").unwrap();
        assert_eq!(port(&release(&[80], None), &worker), None);
    }

    #[test]
    fn variables_of_the_app_win_over_the_manifests_and_the_platforms_over_both() {
        let project = ProjectName::default_project();
        let job = Job::Process {
            name: ProcessName::web(),
            replicas: 2,
        };
        let vars: Vec<String> = environment(&project, &release(&[80], None), &job)
            .into_iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        assert_eq!(
            vars,
            [
                "A=Plain(\"manifest\")",
                "B=Plain(\"app\")",
                "CORACLE_APP=Plain(\"hello\")",
                "CORACLE_PROCESS=Plain(\"web\")",
                "CORACLE_PROJECT=Plain(\"default\")",
                "CORACLE_RELEASE=Plain(\"v3\")",
                "PORT=Plain(\"80\")",
                "S=Sealed(\"…\")"
            ]
        );
    }

    #[test]
    fn a_workload_is_what_its_wish_says_and_waits_for_the_image() {
        let project = ProjectName::default_project();
        let app = AppName::new("hello").unwrap();
        let mut release = release(&[80], None);
        let policy = Policy::default();
        let web = Wish::process(&project, &app, &release, &ProcessName::web(), 2);
        let made = workload(&project, &release, &web, Vec::new(), &policy).unwrap();
        assert_eq!(made.kind, WorkloadKind::Replicated { replicas: 2 });
        assert_eq!(made.template.drain, policy.drain);
        assert_eq!(made.template.volumes[0].volume.as_str(), "hello-data");
        assert_eq!(made.generation, 3);
        let command = Wish::command(&project, &app, &release);
        let made = workload(&project, &release, &command, Vec::new(), &policy).unwrap();
        let start = TaskStart::AtOnce;
        assert_eq!(made.kind, WorkloadKind::Task { start });
        assert_eq!((made.owner.process, made.template.port), (None, None));
        release.status.image = None;
        assert!(workload(&project, &release, &web, Vec::new(), &policy).is_none());
    }
}
