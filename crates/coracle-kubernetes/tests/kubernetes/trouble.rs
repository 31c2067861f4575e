//! What goes wrong with clusters, and what is said of it.

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

/// A namespace that somebody else made is not touched, and named.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_of_somebody_else_is_left_alone() {
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    let namespace = bed.platform.namespace("default");
    bed.platform.kubectl(&["create", "namespace", &namespace]);
    let before = bed
        .platform
        .kubectl(&["get", "namespace", &namespace, "-o", "json"]);
    let error = bed
        .engine
        .ensure_project(&ProjectName::default_project())
        .await;
    let named = matches!(&error, Err(EngineError::Foreign(what)) if what.contains(&namespace));
    assert!(named, "{error:?}");
    bed.engine.apply(web(1)).await.unwrap();
    let pod = bed
        .says(&web(1), &[&namespace, "not this platform's"])
        .await;
    assert_eq!(pod.status.phase, PodPhase::Failed);
    bed.engine
        .remove_project(&ProjectName::default_project())
        .await
        .unwrap();
    let after = bed
        .platform
        .kubectl(&["get", "namespace", &namespace, "-o", "json"]);
    assert_eq!(before, after);
    bed.platform
        .kubectl(&["delete", "namespace", &namespace, "--wait=false"]);
}

/// What somebody else put into a project's namespace outlives the project.
#[tokio::test(flavor = "multi_thread")]
async fn objects_of_somebody_else_in_our_namespace_stay() {
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    bed.engine.apply(web(1)).await.unwrap();
    bed.ready(&web(1), 1).await;
    let namespace = bed.platform.namespace("default");
    bed.platform.kubectl(&[
        "run", "stranger", "-n", &namespace, "--image", IMAGE, "--restart=Never", "--overrides",
        r#"{"spec":{"containers":[{"name":"stranger","image":"coracle-test:1","command":["sleep","1000"]}]}}"#,
    ]);
    bed.engine
        .remove_project(&ProjectName::default_project())
        .await
        .unwrap();
    until(&*bed.engine, "our pods are gone", LONG, |seen| {
        seen.pods.is_empty().then_some(())
    })
    .await;
    let uid = bed.platform.kubectl(&[
        "get",
        "pod",
        "stranger",
        "-n",
        &namespace,
        "-o",
        "jsonpath={.metadata.deletionTimestamp}",
    ]);
    assert_eq!(uid, "", "nobody deletes it");
}

/// A number that somebody else has set is shown, and not fought over.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_somebody_else_is_shown_and_left() {
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    bed.engine.apply(web(1)).await.unwrap();
    bed.ready(&web(1), 1).await;
    let namespace = bed.platform.namespace("default");
    bed.platform.kubectl(&[
        "scale",
        "deployment",
        "-n",
        &namespace,
        "web-g1",
        "--replicas=2",
    ]);
    let pods = bed.ready(&web(1), 2).await;
    let told = |pod: &ObservedPod| {
        pod.status
            .reason
            .as_deref()
            .unwrap_or_default()
            .contains("kubectl")
    };
    assert!(pods.iter().all(told), "{pods:?}");
    // Neither the same wish nor another number takes it back; removing does.
    bed.engine.apply(web(1)).await.unwrap();
    bed.engine.apply(web(3)).await.unwrap();
    bed.says(&web(3), &["kubectl"]).await;
    bed.ready(&web(3), 2).await;
    // Handed back, it is ours again.
    bed.platform.kubectl(&[
        "scale",
        "deployment",
        "-n",
        &namespace,
        "web-g1",
        "--replicas=1",
    ]);
    let back = bed.ready(&web(3), 3).await;
    assert_eq!(back[0].status.reason, None);
    bed.platform.kubectl(&[
        "scale",
        "deployment",
        "-n",
        &namespace,
        "web-g1",
        "--replicas=4",
    ]);
    bed.ready(&web(3), 4).await;
    bed.engine.remove(&web(1).id).await.unwrap();
    until(&*bed.engine, "it is gone", LONG, |seen| {
        seen.pods.is_empty().then_some(())
    })
    .await;
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
    let alone = Workload {
        kind: WorkloadKind::Single,
        id: WorkloadId {
            name: PodName::new("alone").unwrap(),
            ..web(1).id
        },
        ..web(1)
    };
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

/// A token that is not taken is told as such.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_not_taken_are_told() {
    let Some(kubeconfig) = kubeconfig() else {
        return;
    };
    let platform = Arc::new(Platform::new(kubeconfig));
    let bed = as_token(platform, "expired").await;
    let refused = bed.engine.ping().await;
    // Whoever may ask for its version unknown is told it by some clusters.
    assert!(
        matches!(refused, Err(EngineError::Credentials(_)) | Ok(_)),
        "{refused:?}"
    );
    let refused = bed.engine.nodes().await;
    assert!(
        matches!(refused, Err(EngineError::Credentials(_))),
        "{refused:?}"
    );
    let refused = bed
        .engine
        .ensure_project(&ProjectName::default_project())
        .await;
    assert!(
        matches!(refused, Err(EngineError::Credentials(_))),
        "{refused:?}"
    );
}

async fn as_token(platform: Arc<Platform>, token: &str) -> Bed {
    let mut config: serde_json::Value = serde_json::from_str(&platform.flat()).unwrap();
    config["users"][0]["user"] = serde_json::json!({ "token": token });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    Bed::on(platform, |config| {
        config.access = Access::Kubeconfig {
            path,
            context: None,
        };
    })
    .await
}

/// What is forbidden says which verb on which resource, and how to grant it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_forbidden_says_how_to_grant_it() {
    let Some(kubeconfig) = kubeconfig() else {
        return;
    };
    let platform = Arc::new(Platform::new(kubeconfig));
    let namespace = format!("account-{}", platform.id);
    platform.kubectl(&["create", "namespace", &namespace]);
    platform.kubectl(&["create", "serviceaccount", "nobody", "-n", &namespace]);
    let token = platform.token(&namespace, "nobody");
    let bed = as_token(Arc::clone(&platform), &token).await;
    let refused = bed.engine.nodes().await.unwrap_err().to_string();
    for word in ["list", "nodes", "ClusterRole", r#"verbs: ["list"]"#] {
        assert!(refused.contains(word), "{refused}");
    }
    let refused = bed
        .engine
        .ensure_project(&ProjectName::default_project())
        .await;
    assert!(
        matches!(refused, Err(EngineError::Forbidden { .. })),
        "{refused:?}"
    );
    platform.kubectl(&["delete", "namespace", &namespace, "--wait=false"]);
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

/// What a Service of somebody else is called cannot be a name of ours: it is left alone, and that is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_somebody_else_is_left_alone() {
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    bed.engine
        .ensure_project(&ProjectName::default_project())
        .await
        .unwrap();
    let namespace = bed.platform.namespace("default");
    bed.platform.kubectl(&[
        "create",
        "service",
        "clusterip",
        "web",
        "--tcp=1:1",
        "-n",
        &namespace,
    ]);
    let before = bed
        .platform
        .kubectl(&["get", "service", "web", "-n", &namespace, "-o", "json"]);
    bed.engine.apply(web(1)).await.unwrap();
    let told = bed.says(&web(1), &["service", "not this platform's"]).await;
    assert!(
        told.status
            .reason
            .is_some_and(|reason| reason.contains(&namespace))
    );
    bed.ready(&web(1), 1).await;
    let after = bed
        .platform
        .kubectl(&["get", "service", "web", "-n", &namespace, "-o", "json"]);
    assert_eq!(before, after);
}
