//! The engine's laws, on the real cluster.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use coracle_engine::conformance::{Factory, Foreign, World};
use coracle_engine::{ContextDesk, Engine, Support};
use coracle_kubernetes::config::{Access, RegistryNames};
use coracle_kubernetes::{BuildConfig, BuildTool, KubernetesEngine};
use coracle_model::name::ImageRef;
use coracle_model::workload::PodId;
use coracle_task::Supervisor;

use crate::ground::{IMAGE, LONG, Platform, kubeconfig};
use crate::hub::Hub;
use crate::link::Link;

struct OneCluster {
    platform: Arc<Platform>,
    /// An image of Coracle, where this world builds.
    source_image: Option<String>,
    desk: ContextDesk,
    life: Mutex<Option<Supervisor>>,
    link: tokio::sync::OnceCell<Link>,
    hub: tokio::sync::OnceCell<Hub>,
}

impl OneCluster {
    async fn hub(&self) -> &Hub {
        let hub = async { Hub::new(&self.platform, &self.desk).await };
        self.hub.get_or_init(|| hub).await
    }
}

impl Drop for OneCluster {
    fn drop(&mut self) {
        // Or the engine would make again what the platform's end takes away.
        if let Some(life) = self.life.lock().unwrap().take() {
            life.token().cancel();
        }
    }
}

pub(crate) struct OnKubernetes {
    kubeconfig: PathBuf,
    source_image: Option<String>,
}

impl OnKubernetes {
    fn new(kubeconfig: PathBuf) -> Self {
        Self {
            kubeconfig,
            source_image: None,
        }
    }

    /// Worlds that build, with this image of Coracle to fetch sources.
    pub(crate) fn that_builds(kubeconfig: PathBuf, source_image: String) -> Self {
        Self {
            source_image: Some(source_image),
            ..Self::new(kubeconfig)
        }
    }
}

#[async_trait]
impl Factory for OnKubernetes {
    async fn world(&self) -> Box<dyn World> {
        Box::new(OneCluster {
            platform: Arc::new(Platform::new(self.kubeconfig.clone())),
            source_image: self.source_image.clone(),
            desk: ContextDesk::default(),
            life: Mutex::new(None),
            link: tokio::sync::OnceCell::new(),
            hub: tokio::sync::OnceCell::new(),
        })
    }
}

#[async_trait]
impl World for OneCluster {
    async fn engine(&self) -> Arc<dyn Engine> {
        let life = Supervisor::new("conformance");
        let before = self.life.lock().unwrap().replace(life.clone());
        if let Some(before) = before {
            before.shutdown(Duration::ZERO).await;
        }
        let mut config = self.platform.config(&life);
        if let Some(link) = self.link.get() {
            config.access = Access::Kubeconfig {
                path: link.kubeconfig.clone(),
                context: None,
            };
        }
        if let Some(source_image) = &self.source_image {
            let hub = self.hub().await;
            let (own, nodes) = (hub.host.clone(), hub.host.clone());
            config.registry = Some(RegistryNames { own, nodes });
            config.build = Some(BuildConfig {
                image: "coracle-build-buildah:1".to_owned(),
                namespace: format!("builds-{}", self.platform.id),
                ..BuildConfig::new(
                    BuildTool::Buildah,
                    source_image,
                    format!("http://{}", hub.address),
                    hub.address.to_string(),
                    self.desk.clone(),
                )
            });
        }
        KubernetesEngine::connect(config).await.unwrap()
    }

    fn image(&self) -> ImageRef {
        ImageRef::new(IMAGE).unwrap()
    }

    fn patience(&self) -> Duration {
        LONG
    }

    fn probe_interval(&self) -> Duration {
        // The shortest that a kubelet knows.
        Duration::from_secs(1)
    }

    async fn vanish(&self, pod: &PodId) {
        let namespace = self.platform.namespace(pod.project.as_str());
        let name = self.platform.real(pod);
        self.platform.kubectl(&[
            "delete",
            "pod",
            "-n",
            &namespace,
            &name,
            "--force",
            "--grace-period=0",
        ]);
    }

    async fn kill(&self, pod: &PodId) {
        // The node's processes are this machine's too, wherever its containers are kept.
        let namespace = self.platform.namespace(pod.project.as_str());
        let name = self.platform.real(pod);
        let path = "{.status.containerStatuses[0].containerID}";
        let id = self.platform.kubectl(&[
            "get",
            "pod",
            "-n",
            &namespace,
            &name,
            "-o",
            &format!("jsonpath={path}"),
        ]);
        let id = id.rsplit('/').next().unwrap().to_owned();
        let found = Command::new("grep")
            .args(["-ls", &id])
            .args(cgroups())
            .output()
            .unwrap();
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        let mut killed = false;
        for file in found.lines() {
            let pid = file.split('/').nth(2).unwrap();
            let status = Command::new("kill").args(["-9", pid]).output().unwrap();
            killed |= status.status.success();
        }
        assert!(killed, "{pod} has a process on this machine");
    }

    fn owns_nodes(&self) -> Support {
        // Worlds run at the same time: .config/nextest.toml has the cases that cordon run alone.
        let owned = std::env::var_os("CORACLE_TEST_OWNS_NODES");
        if owned.is_some_and(|owned| !owned.is_empty()) {
            Support::Yes
        } else {
            Support::No
        }
    }

    async fn cut_off(&self) -> Support {
        let link = async { Link::new(&self.platform.flat()).await };
        self.link.get_or_init(|| link).await.cut().await;
        Support::Yes
    }

    async fn reconnect(&self) {
        self.link.get().unwrap().mend().await;
    }

    async fn resolvable(&self) -> ImageRef {
        self.hub().await.image().await
    }

    async fn push_target(&self) -> Option<ImageRef> {
        self.source_image.as_ref()?;
        let name = format!("{}/test/built:1", self.hub().await.host);
        Some(ImageRef::new(name).unwrap())
    }

    async fn build_base(&self) -> ImageRef {
        self.resolvable().await
    }

    async fn foreign(&self) -> Option<Box<dyn Foreign>> {
        Some(Box::new(Stranger::new(&self.platform)))
    }

    async fn leftovers(&self) -> Vec<String> {
        self.platform.objects(
            "namespaces,deployments,replicasets,jobs,pods,services,secrets,networkpolicies",
        )
    }

    async fn close(&self) {
        let life = self.life.lock().unwrap().take();
        if let Some(life) = life {
            life.shutdown(Duration::from_secs(1)).await;
        }
    }
}

fn cgroups() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap();
    processes
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        .map(|pid| format!("/proc/{pid}/cgroup"))
        .collect()
}

/// A Deployment in a namespace of somebody else that looks much like the platform's, down to its labels.
struct Stranger {
    platform: Arc<Platform>,
    namespace: String,
    before: String,
}

impl Stranger {
    fn new(platform: &Arc<Platform>) -> Self {
        let namespace = format!("foreign-{}", platform.id);
        platform.kubectl(&["create", "namespace", &namespace]);
        platform.kubectl(&[
            "create",
            "deployment",
            "web-g1",
            "-n",
            &namespace,
            "--image",
            IMAGE,
        ]);
        let label = format!("coracle.io/platform={}", platform.id);
        platform.kubectl(&[
            "label",
            "deployment",
            "web-g1",
            "-n",
            &namespace,
            &label,
            "coracle.io/workload=web",
        ]);
        platform.kubectl(&[
            "rollout",
            "status",
            "deployment",
            "web-g1",
            "-n",
            &namespace,
        ]);
        let before = state(platform, &namespace);
        Self {
            platform: Arc::clone(platform),
            namespace,
            before,
        }
    }
}

fn state(platform: &Platform, namespace: &str) -> String {
    let path =
        "{range .items[*]}{.metadata.uid} {.metadata.generation} {.metadata.labels}{'\\n'}{end}";
    let path = format!("jsonpath={}", path.replace('\'', "\""));
    platform.kubectl(&["get", "deployments,pods", "-n", namespace, "-o", &path])
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(
            self.platform
                .run(&["delete", "namespace", &self.namespace, "--wait=false"]),
        );
    }
}

#[async_trait]
impl Foreign for Stranger {
    async fn untouched(self: Box<Self>) -> Result<(), String> {
        let after = state(&self.platform, &self.namespace);
        if after == self.before {
            Ok(())
        } else {
            Err(format!("was {}, is {after}", self.before))
        }
    }
}

coracle_engine::engine_conformance!(
    #[tokio::test(flavor = "multi_thread")]
    where kubeconfig().map(OnKubernetes::new)
);
