//! What the API server is asked for. Pure: from wishes to objects in JSON.
//!
//! Theory of operation: objects are applied whole, by server-side apply with one field manager and never by force, so
//! they name only what the platform wants to own; the rest stays the cluster's and other people's.

mod project;
mod set;
mod template;

pub(crate) use project::{
    NETWORK_POLICY, PULL_SECRET, QUOTA, claim, namespace, network_policy, pull_secret, quota,
};
pub(crate) use set::{deployment, disruption_budget, job, resubmit, service};
pub(crate) use template::{CONTAINER, bare_pod, environment};

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use coracle_engine::build::{PullCredentials, RegistryCredentials};
    use coracle_model::env::Secret as Hidden;
    use coracle_model::name::{EnvName, ImageRef, PodName, ProjectName, VolumeName};
    use coracle_model::quantity::{ByteSize, Cpu, Span};
    use coracle_model::release::{CommandLine, Health};
    use coracle_model::workload::{
        Mount, Owner, PodTemplate, Resources, TaskStart, Terminal, Workload, WorkloadId,
        WorkloadKind,
    };
    use coracle_task::Supervisor;
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::batch::v1::Job;
    use k8s_openapi::api::core::v1::{
        Namespace, PersistentVolumeClaim, Pod, ResourceQuota, Secret, Service,
    };
    use k8s_openapi::api::networking::v1::NetworkPolicy;
    use k8s_openapi::api::policy::v1::PodDisruptionBudget;
    use serde_json::{Value, json};

    use crate::config::{KubernetesConfig, PodSecurity, RegistryNames};

    fn config() -> KubernetesConfig {
        KubernetesConfig {
            system_namespace: Some("coracle-system".to_owned()),
            registry: Some(RegistryNames {
                own: "127.0.0.1:7070".to_owned(),
                nodes: "127.0.0.1:30500".to_owned(),
            }),
            ..KubernetesConfig::new("p1", Supervisor::new("test"))
        }
    }

    fn pull() -> PullCredentials {
        PullCredentials {
            host: "127.0.0.1:7070".to_owned(),
            credentials: RegistryCredentials {
                user: "pull".to_owned(),
                password: Hidden::new("secret"),
            },
            others: Vec::new(),
        }
    }

    fn web() -> Workload {
        Workload {
            id: WorkloadId {
                project: ProjectName::new("shop").unwrap(),
                name: PodName::new("web").unwrap(),
            },
            generation: 7,
            kind: WorkloadKind::Replicated { replicas: 2 },
            owner: Owner::default(),
            template: PodTemplate {
                image: ImageRef::new("127.0.0.1:7070/shop/web@sha256:00").unwrap(),
                command: Some(CommandLine::Shell("exec serve $PORT $(pwd)".to_owned())),
                env: vec![(EnvName::new("KEY").unwrap(), Hidden::new("hush"))],
                port: Some(8080),
                names: vec!["web".to_owned(), "web.shop.internal".to_owned()],
                resources: Resources {
                    cpu: Some(Cpu::from_milli(500)),
                    memory: Some(ByteSize::mib(256)),
                },
                health: Some(Health {
                    path: Some("/healthz".to_owned()),
                    interval: Span::secs(5),
                    ..Health::default()
                }),
                volumes: vec![Mount {
                    volume: VolumeName::new("data").unwrap(),
                    path: "/data".to_owned(),
                }],
                stop_grace: Duration::from_millis(2500),
                drain: Duration::from_secs(30),
            },
        }
    }

    /// `UPDATE=1` writes what is made now.
    fn golden(name: &str, made: &Value) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src/object/golden")
            .join(name);
        let made = serde_json::to_string_pretty(made).unwrap() + "\n";
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(made, kept, "{name}: UPDATE=1 writes it anew");
    }

    #[test]
    fn objects_are_as_they_were() {
        let (config, web) = (config(), web());
        golden("deployment.json", &deployment(&config, &web, 2));
        golden("service.json", &service(&config, &web, "web"));
        golden("budget.json", &disruption_budget(&config, &web, "v1"));
        let project = &web.id.project;
        golden(
            "project.json",
            &json!([
                namespace(&config, project, "coracle-shop"),
                network_policy(&config, project),
                pull_secret(&config, project, &pull()),
                claim(
                    &config,
                    project,
                    &VolumeName::new("data").unwrap(),
                    Some(ByteSize::mib(64))
                ),
            ]),
        );
        let mut task = web.clone();
        task.kind = WorkloadKind::Task {
            start: TaskStart::OnAttach {
                terminal: Terminal::Tty {
                    columns: 80,
                    rows: 24,
                },
            },
        };
        golden("job.json", &job(&config, &task));
        let single = Workload {
            kind: WorkloadKind::Single,
            ..web
        };
        let baseline = KubernetesConfig {
            pod_security: PodSecurity::Baseline,
            ..config
        };
        golden("pod.json", &bare_pod(&baseline, &single));
    }

    /// What is asked for has no field that the types of a current Kubernetes do not have: an API server would drop it
    /// without a word.
    #[test]
    fn every_field_is_known_to_a_current_kubernetes() {
        fn holds<K: serde::de::DeserializeOwned + serde::Serialize>(made: &Value) {
            let read: K = serde_json::from_value(made.clone()).unwrap();
            assert_eq!(&serde_json::to_value(&read).unwrap(), made);
        }
        let (config, web) = (config(), web());
        let project = &web.id.project;
        let hard = [("requests.memory".to_owned(), "8Gi".to_owned())];
        let volume = VolumeName::new("data").unwrap();
        let of_kind = |kind: WorkloadKind| Workload {
            kind,
            ..web.clone()
        };
        let start = TaskStart::AtOnce;
        holds::<Deployment>(&deployment(&config, &web, 2));
        holds::<Job>(&job(&config, &of_kind(WorkloadKind::Task { start })));
        holds::<Pod>(&bare_pod(&config, &of_kind(WorkloadKind::Single)));
        holds::<Service>(&service(&config, &web, "web"));
        holds::<Secret>(&environment(&config, &web, "web-g7").unwrap());
        holds::<PodDisruptionBudget>(&disruption_budget(&config, &web, "v1"));
        holds::<Namespace>(&namespace(&config, project, "coracle-shop"));
        holds::<NetworkPolicy>(&network_policy(&config, project));
        holds::<ResourceQuota>(&quota(&config, project, &hard.into()));
        holds::<PersistentVolumeClaim>(&claim(&config, project, &volume, Some(ByteSize::mib(64))));
        holds::<Secret>(&pull_secret(&config, project, &pull()));
    }

    #[test]
    fn a_secret_stands_in_its_secret_and_nowhere_else() {
        let (config, web) = (config(), web());
        let secret = environment(&config, &web, "web-g7").unwrap();
        assert_eq!(secret["stringData"]["KEY"], "hush");
        assert!(!deployment(&config, &web, 2).to_string().contains("hush"));
    }
}
