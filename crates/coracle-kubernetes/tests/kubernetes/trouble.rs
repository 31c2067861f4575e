//! What goes wrong with clusters, and what is said of it.

mod input;
mod leftovers;
mod rights;
mod strangers;

use std::sync::Arc;
use std::time::Duration;

use coracle_engine::conformance::until;
use coracle_engine::{Engine, EngineError};
use coracle_kubernetes::config::{Access, PodSecurity};
use coracle_kubernetes::{KubernetesConfig, KubernetesEngine};
use coracle_model::name::{ImageRef, PodName, ProjectName};
use coracle_model::pod::PodPhase;
use coracle_model::quantity::{ByteSize, Cpu};
use coracle_model::workload::{
    ObservedPod, Owner, PodTemplate, Resources, Workload, WorkloadId, WorkloadKind,
};
use coracle_task::Supervisor;
use serde_json::{Value, json};

use crate::ground::{IMAGE, LONG, Platform, kubeconfig};
use crate::link::Link;

/// An engine of a platform of its own.
struct Bed {
    platform: Arc<Platform>,
    engine: Arc<KubernetesEngine>,
    life: Supervisor,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.life.token().cancel();
    }
}

impl Bed {
    async fn new(change: impl FnOnce(&mut KubernetesConfig)) -> Option<Self> {
        let platform = Arc::new(Platform::new(kubeconfig()?));
        Some(Self::on(platform, change).await)
    }

    async fn on(platform: Arc<Platform>, change: impl FnOnce(&mut KubernetesConfig)) -> Self {
        let life = Supervisor::new("trouble");
        let mut config = platform.config(&life);
        change(&mut config);
        let engine = KubernetesEngine::connect(config).await.unwrap();
        Self {
            platform,
            engine,
            life,
        }
    }

    /// Runs `kubectl` in the namespace of project `default`, as the administrator. Words are parted by spaces.
    fn within(&self, line: &str) -> String {
        let namespace = self.platform.namespace("default");
        let words = ["-n", &namespace].into_iter().chain(line.split(' '));
        self.platform.kubectl(&words.collect::<Vec<_>>())
    }

    /// Waits until a Service is there.
    async fn service(&self, name: &str) {
        let namespace = self.platform.namespace("default");
        let there = async {
            let mut look = tokio::time::interval(Duration::from_millis(200));
            loop {
                look.tick().await;
                let found = self
                    .platform
                    .run(&["get", "service", name, "-n", &namespace]);
                if found.status.success() {
                    return;
                }
            }
        };
        tokio::time::timeout(LONG, there).await.unwrap();
    }

    /// Waits until a pod of a workload is as it should be.
    async fn pod(
        &self,
        what: &str,
        workload: &Workload,
        fits: impl Fn(&ObservedPod) -> bool,
    ) -> ObservedPod {
        until(&*self.engine, what, LONG, |seen| {
            let pods = seen.of(&workload.id);
            pods.into_iter().find(|pod| fits(pod)).cloned()
        })
        .await
    }

    async fn says(&self, workload: &Workload, words: &[&str]) -> ObservedPod {
        let what = format!("a pod of {} says {words:?}", workload.id);
        self.pod(&what, workload, |pod| {
            let reason = pod.status.reason.as_deref().unwrap_or_default();
            words.iter().all(|word| reason.contains(word))
        })
        .await
    }

    async fn ready(&self, workload: &Workload, count: usize) -> Vec<ObservedPod> {
        let what = format!("{count} pods of {} are ready", workload.id);
        until(&*self.engine, &what, LONG, |seen| {
            seen.all_in(&workload.id, count, PodPhase::Ready)
        })
        .await
    }
}

fn web(replicas: u32) -> Workload {
    Workload {
        id: WorkloadId {
            project: ProjectName::default_project(),
            name: PodName::new("web").unwrap(),
        },
        generation: 1,
        kind: WorkloadKind::Replicated { replicas },
        owner: Owner::default(),
        template: PodTemplate {
            image: ImageRef::new(IMAGE).unwrap(),
            command: None,
            env: Vec::new(),
            port: Some(8080),
            names: vec!["web".to_owned()],
            resources: Resources::default(),
            health: None,
            volumes: Vec::new(),
            stop_grace: Duration::from_secs(2),
            drain: Duration::ZERO,
        },
    }
}

fn single(name: &str) -> Workload {
    Workload {
        kind: WorkloadKind::Single,
        id: WorkloadId {
            name: PodName::new(name).unwrap(),
            ..web(1).id
        },
        ..web(1)
    }
}

/// A quota that is used up is said in the API server's own words.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_exceeded_is_said() {
    let hard = std::collections::BTreeMap::from([("pods".to_owned(), "1".to_owned())]);
    let Some(bed) = Bed::new(|config| config.quota = Some(hard)).await else {
        return;
    };
    bed.engine.apply(web(2)).await.unwrap();
    bed.says(&web(2), &["exceeded quota", "pods"]).await;
    let alone = single("alone");
    bed.engine.apply(alone.clone()).await.unwrap();
    bed.says(&alone, &["exceeded quota"]).await;
    // There is room again: nobody has to ask again.
    bed.engine.remove(&web(2).id).await.unwrap();
    bed.ready(&alone, 1).await;
}

/// A pod that fits on no node says so in the scheduler's words.
#[tokio::test(flavor = "multi_thread")]
async fn what_fits_on_no_node_says_so() {
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    let mut greedy = web(1);
    greedy.template.resources.memory = Some(ByteSize(1 << 50));
    greedy.template.resources.cpu = Some(Cpu::from_milli(1_000_000));
    bed.engine.apply(greedy.clone()).await.unwrap();
    let pod = bed
        .says(&greedy, &["no node can run it", "nsufficient"])
        .await;
    assert_eq!(pod.status.phase, PodPhase::Pending);
}

/// An image that cannot be pulled is named, and what runs already serves on.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_is_named_and_the_one_before_serves_on() {
    // Nobody listens there.
    const NOWHERE: &str = "127.0.0.1:9/nobody/nothing:1";
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    bed.engine.apply(web(1)).await.unwrap();
    let before = bed.ready(&web(1), 1).await.remove(0);
    let mut newer = web(1);
    newer.generation = 2;
    newer.template.image = ImageRef::new(NOWHERE).unwrap();
    bed.engine.apply(newer.clone()).await.unwrap();
    let pod = bed.says(&newer, &["cannot be pulled", NOWHERE]).await;
    assert_eq!(pod.status.phase, PodPhase::Pending);
    let serving = bed
        .pod("the one before is ready", &newer, |pod| {
            pod.status.phase == PodPhase::Ready
        })
        .await;
    assert_eq!((serving.id, serving.generation), (before.id, 1));
}

/// A node that nobody speaks for. It is removed when this is dropped.
struct SilentNode(Arc<Platform>, String);

impl SilentNode {
    fn new(platform: &Arc<Platform>) -> Self {
        // Last in every list.
        let name = format!("z-silent-{}", platform.id);
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } });
        platform.apply(&node.to_string());
        Self(Arc::clone(platform), name)
    }
}

impl Drop for SilentNode {
    fn drop(&mut self) {
        drop(self.0.run(&["delete", "node", &self.1, "--wait=false"]));
    }
}

/// The only pod of a workload on a node that does not answer: nobody will ever say that it has ended, and its successor
/// needs its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_lone_pod_on_a_node_that_does_not_answer_makes_way() {
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    let mut alone = single("alone");
    bed.engine.apply(alone.clone()).await.unwrap();
    bed.ready(&alone, 1).await;
    bed.life.token().cancel();
    // The same pod, as if it had been given to that node.
    let node = SilentNode::new(&bed.platform);
    let mut pod: Value = serde_json::from_str(&bed.within("get pod alone -o json")).unwrap();
    bed.within("delete pod alone --force --grace-period=0");
    for added in ["uid", "resourceVersion", "managedFields"] {
        pod["metadata"].as_object_mut().unwrap().remove(added);
    }
    pod["spec"]["nodeName"] = json!(node.1);
    bed.platform.apply(&pod.to_string());
    let next = Bed::on(Arc::clone(&bed.platform), |_| {}).await;
    alone.generation = 2;
    next.engine.apply(alone.clone()).await.unwrap();
    let stopping = next
        .pod("it is told to end", &alone, |pod| {
            pod.status.phase == PodPhase::Stopping
        })
        .await;
    assert_eq!(stopping.status.node.as_ref(), Some(&node.1));
    let successor = next.ready(&alone, 1).await.remove(0);
    assert_eq!(successor.generation, 2);
    assert_ne!(successor.status.node.as_ref(), Some(&node.1));
}

/// The API server is away at first: wishes are kept and done once it is there.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_is_waited_for() {
    let Some(kubeconfig) = kubeconfig() else {
        return;
    };
    let platform = Arc::new(Platform::new(kubeconfig));
    let link = Link::new(&platform.flat()).await;
    link.cut().await;
    let path = link.kubeconfig.clone();
    let bed = Bed::on(platform, |config| {
        config.access = Access::Kubeconfig {
            path,
            context: None,
        };
    })
    .await;
    let away = bed.engine.ping().await;
    assert!(matches!(away, Err(EngineError::Unavailable(_))), "{away:?}");
    bed.engine.apply(web(1)).await.unwrap();
    link.mend().await;
    bed.ready(&web(1), 1).await;
    // And in the middle.
    link.cut().await;
    bed.engine.apply(web(2)).await.unwrap();
    assert!(matches!(
        bed.engine.ping().await,
        Err(EngineError::Unavailable(_))
    ));
    link.mend().await;
    bed.ready(&web(2), 2).await;
    bed.engine.remove(&web(1).id).await.unwrap();
    until(&*bed.engine, "it is gone", LONG, |seen| {
        seen.pods.is_empty().then_some(())
    })
    .await;
}

/// Restricted pods run as the configured user, without any capability.
#[tokio::test(flavor = "multi_thread")]
async fn restricted_pods_are_nobody() {
    let Some(bed) = Bed::new(|config| {
        config.pod_security = PodSecurity::Restricted { uid: 23_456 };
    })
    .await
    else {
        return;
    };
    let web = web(1);
    bed.engine.apply(web.clone()).await.unwrap();
    let pod = bed.ready(&web, 1).await.remove(0);
    let request = coracle_engine::stream::ExecRequest {
        command: ["sh", "-c", "id -u; grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status; ls /var/run/secrets 2>&1"]
            .map(str::to_owned)
            .to_vec(),
        terminal: coracle_model::workload::Terminal::Streams,
    };
    let run = coracle_engine::conformance::run_command(&*bed.engine, &pod.id, request, b"", LONG);
    let (_, said) = run.await.unwrap();
    assert!(said.starts_with("23456\n"), "{said}");
    assert!(said.contains("CapEff:\t0000000000000000"), "{said}");
    assert!(said.contains("NoNewPrivs:\t1"), "{said}");
    assert!(said.contains("No such file"), "no token: {said}");
}

/// A drained pod is the one that dies when there are fewer, whichever it is to Kubernetes.
#[tokio::test(flavor = "multi_thread")]
async fn scaling_in_kills_only_what_was_drained() {
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    let mut many = web(4);
    many.template.drain = Duration::from_secs(3600);
    bed.engine.apply(many.clone()).await.unwrap();
    let before = bed.ready(&many, 4).await;
    many.kind = WorkloadKind::Replicated { replicas: 2 };
    bed.engine.apply(many.clone()).await.unwrap();
    let leaving = until(
        &*bed.engine,
        "two are on their way out and two serve",
        LONG,
        |seen| {
            let leaving = seen.in_phase(&many.id, PodPhase::Stopping);
            let ready = seen.in_phase(&many.id, PodPhase::Ready).len();
            let all = seen.of(&many.id).len();
            let settled = leaving.len() == 2 && ready == 2 && all == 4;
            settled.then(|| {
                leaving
                    .into_iter()
                    .map(|p| p.id.clone())
                    .collect::<Vec<_>>()
            })
        },
    )
    .await;
    // One after the other.
    bed.engine.drained(&leaving[0]).await.unwrap();
    until(
        &*bed.engine,
        "the drained one is gone, the other waits",
        LONG,
        |seen| {
            let gone = !seen.pods.contains_key(&leaving[0]);
            let waits = seen
                .pods
                .get(&leaving[1])
                .is_some_and(|p| p.status.phase == PodPhase::Stopping);
            (gone && waits).then_some(())
        },
    )
    .await;
    bed.engine.drained(&leaving[1]).await.unwrap();
    let after = bed.ready(&many, 2).await;
    for pod in &after {
        let same = before
            .iter()
            .find(|p| p.id == pod.id)
            .expect("one of the first four");
        assert_eq!(same.status.started, pod.status.started);
        assert!(!leaving.contains(&pod.id));
    }
}

/// The successors of those that were taken out die while they are being started, which kubelets before 1.22 forget for 60
/// to 90 s unless they are reminded.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_scaled_away_is_gone_soon() {
    const ROUNDS: usize = 6;
    const SOON: Duration = Duration::from_secs(45);
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        bed.engine.apply(web(4)).await.unwrap();
        bed.ready(&web(4), 4).await;
        let began = std::time::Instant::now();
        bed.engine.apply(web(1)).await.unwrap();
        until(&*bed.engine, "one is left", LONG, |seen| {
            let left = seen.of(&web(1).id);
            let ready = left.iter().all(|pod| pod.status.phase == PodPhase::Ready);
            (left.len() == 1 && ready).then_some(())
        })
        .await;
        took.push(began.elapsed());
    }
    eprintln!("from 4 pods to 1: {took:?}");
    assert!(took.iter().all(|took| *took < SOON), "{took:?}");
}

/// The data of a removed project stay until they are removed too; then nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn volumes_outlive_their_project() {
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    let project = ProjectName::default_project();
    let volume = coracle_model::name::VolumeName::new("data").unwrap();
    bed.engine
        .ensure_volume(&project, &volume, None)
        .await
        .unwrap();
    bed.engine.apply(web(1)).await.unwrap();
    bed.ready(&web(1), 1).await;
    bed.engine.remove_project(&project).await.unwrap();
    until(&*bed.engine, "its pods are gone", LONG, |seen| {
        seen.pods.is_empty().then_some(())
    })
    .await;
    assert_eq!(bed.engine.volumes().await.unwrap().len(), 1);
    let namespace = bed.platform.namespace("default");
    bed.platform.kubectl(&["get", "namespace", &namespace]);
    bed.engine.remove_volume(&project, &volume).await.unwrap();
    let name = format!("namespace/{namespace}");
    bed.platform
        .kubectl(&["wait", "--for=delete", &name, "--timeout=120s"]);
    assert_eq!(bed.platform.objects("namespaces"), Vec::<String>::new());
    // And it can be made again.
    bed.engine.apply(web(1)).await.unwrap();
    bed.ready(&web(1), 1).await;
}
