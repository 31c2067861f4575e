//! Measures the engine on the cluster of KUBECONFIG: see bench/kubernetes/README.md.
//!
//! `ready ROUNDS`: from the call to a ready pod, beside the same Deployment by `kubectl apply` and by one request,
//! alternating. `idle WORKLOADS SECONDS`: requests of an engine that has nothing to do.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement ends where its ground is missing, and prints what it measured"
)]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use coracle_engine::Engine;
use coracle_engine::conformance::{Watcher, until};
use coracle_kubernetes::config::PodSecurity;
use coracle_kubernetes::{KubernetesConfig, KubernetesEngine};
use coracle_model::name::{ImageRef, PodName, ProjectName};
use coracle_model::pod::PodPhase;
use coracle_model::workload::{Owner, PodTemplate, Resources, Workload, WorkloadId, WorkloadKind};
use coracle_task::Supervisor;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt as _;

const PATIENCE: Duration = Duration::from_secs(120);
static REQUESTS: AtomicU64 = AtomicU64::new(0);
static KINDS: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// Counts the requests of the client library, each of which is a span.
struct Count;

struct Field(String);

impl tracing::field::Visit for Field {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "http.url" || field.name() == "otel.name" {
            self.0 = format!("{} {value:?}", self.0);
        }
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Count {
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        _id: &tracing::span::Id,
        _context: tracing_subscriber::layer::Context<'_, S>,
    ) {
        if attributes.metadata().name() == "HTTP" {
            REQUESTS.fetch_add(1, Ordering::Relaxed);
            let mut field = Field(String::new());
            attributes.record(&mut field);
            let what = field
                .0
                .split('?')
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned();
            *KINDS.lock().unwrap().entry(what).or_default() += 1;
        }
    }
}

fn web(name: &str) -> Workload {
    Workload {
        id: WorkloadId {
            project: ProjectName::default_project(),
            name: PodName::new(name).unwrap(),
        },
        generation: 1,
        kind: WorkloadKind::Replicated { replicas: 1 },
        owner: Owner::default(),
        template: PodTemplate {
            image: ImageRef::new("coracle-test:1").unwrap(),
            command: None,
            env: vec![(
                coracle_model::name::EnvName::new("GREETING").unwrap(),
                coracle_model::env::Secret::new("hello"),
            )],
            port: Some(8080),
            names: vec![name.to_owned()],
            resources: Resources::default(),
            health: None,
            volumes: Vec::new(),
            stop_grace: Duration::from_secs(1),
            drain: Duration::ZERO,
        },
    }
}

async fn gone(engine: &KubernetesEngine, workload: &Workload) {
    engine.remove(&workload.id).await.unwrap();
    until(engine, "it is gone", PATIENCE, |seen| {
        seen.of(&workload.id).is_empty().then_some(())
    })
    .await;
}

async fn ready_by_engine(engine: &KubernetesEngine, workload: &Workload) -> Duration {
    let mut watcher = Watcher::on(engine, PATIENCE);
    watcher.until("it begins", |_| Some(())).await;
    let asked = Instant::now();
    engine.apply(workload.clone()).await.unwrap();
    watcher
        .until("it is ready", |seen| {
            seen.all_in(&workload.id, 1, PodPhase::Ready)
        })
        .await;
    asked.elapsed()
}

/// The Deployment that the engine made, for others to make: without what the API server adds, and without our labels on
/// it, so that the engine leaves it alone.
async fn equivalent(client: &Client, namespace: &str, engine: &KubernetesEngine) -> Value {
    let model = web("model");
    engine.apply(model.clone()).await.unwrap();
    until(engine, "the model is ready", PATIENCE, |seen| {
        seen.all_in(&model.id, 1, PodPhase::Ready)
    })
    .await;
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let made = api.get("model-g1").await.unwrap();
    let spec = made.spec.unwrap();
    let mut template = serde_json::to_value(&spec.template).unwrap();
    template["metadata"] = serde_json::json!({ "labels": { "app": "peer" } });
    template["spec"]
        .as_object_mut()
        .unwrap()
        .remove("topologySpreadConstraints");
    serde_json::json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "peer" },
        "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "peer" } }, "template": template },
    })
}

/// From `begin` to the moment when a watch tells that the peer's pod is ready; then it is taken away.
async fn ready_by(client: &Client, namespace: &str, begin: impl AsyncFnOnce()) -> Duration {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let config = watcher::Config::default().labels("app=peer");
    let mut events = watcher(pods, config).applied_objects().boxed();
    let asked = Instant::now();
    begin().await;
    let ready = async {
        while let Some(pod) = events.next().await {
            let pod = pod.unwrap();
            let conditions = pod.status.and_then(|s| s.conditions).unwrap_or_default();
            if conditions
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.unwrap();
    let took = asked.elapsed();
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let uid = api.get("peer").await.unwrap().metadata.uid.unwrap();
    let last = DeleteParams::foreground();
    api.delete("peer", &last).await.unwrap();
    // In the foreground: it is gone once its pods are.
    let gone = await_condition(api, "peer", conditions::is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone).await.unwrap().unwrap();
    took
}

fn median(samples: &mut [Duration]) -> f64 {
    samples.sort();
    samples[samples.len() / 2].as_secs_f64() * 1000.0
}

async fn ready(engine: &KubernetesEngine, namespace: &str, rounds: usize) {
    let client = Client::try_default().await.unwrap();
    let peer = equivalent(&client, namespace, engine).await;
    let mut file = std::env::temp_dir();
    file.push(format!("coracle-peer-{}.json", std::process::id()));
    std::fs::write(&file, peer.to_string()).unwrap();
    let kubectl = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
    let (mut ours, mut theirs, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let workload = web(&format!("round{round}"));
        let took = ready_by_engine(engine, &workload).await;
        gone(engine, &workload).await;
        ours.push(took);
        let took = ready_by(&client, namespace, async || {
            let (kubectl, file) = (kubectl.clone(), file.clone());
            let namespace = namespace.to_owned();
            let applied = tokio::task::spawn_blocking(move || {
                Command::new(kubectl)
                    .args(["apply", "-n", &namespace, "-f"])
                    .arg(file)
                    .output()
            });
            assert!(applied.await.unwrap().unwrap().status.success());
        })
        .await;
        theirs.push(took);
        let took = ready_by(&client, namespace, async || {
            let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
            let parameters = PatchParams::apply("peer");
            api.patch("peer", &parameters, &Patch::Apply(&peer))
                .await
                .unwrap();
        })
        .await;
        bare.push(took);
        println!(
            "round {round}: engine {:.0} ms, kubectl apply {:.0} ms, one request {:.0} ms",
            ours[round].as_secs_f64() * 1000.0,
            theirs[round].as_secs_f64() * 1000.0,
            bare[round].as_secs_f64() * 1000.0
        );
    }
    drop(std::fs::remove_file(&file));
    let (ours, theirs, bare) = (median(&mut ours), median(&mut theirs), median(&mut bare));
    println!(
        "medians: engine {ours:.0} ms, kubectl apply {theirs:.0} ms ({:.2}x), one request {bare:.0} ms ({:.2}x)",
        ours / theirs,
        ours / bare
    );
}

async fn idle(engine: &KubernetesEngine, count: usize, seconds: u64) {
    let workloads: Vec<Workload> = (0..count).map(|n| web(&format!("idle{n}"))).collect();
    for workload in &workloads {
        engine.apply(workload.clone()).await.unwrap();
    }
    for workload in &workloads {
        until(engine, "it is ready", PATIENCE, |seen| {
            seen.all_in(&workload.id, 1, PodPhase::Ready)
        })
        .await;
    }
    // What comes behind a pod that is ready: owners, Services.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = REQUESTS.load(Ordering::Relaxed);
    KINDS.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let requests = REQUESTS.load(Ordering::Relaxed) - before;
    println!(
        "idle with {count} workloads: {requests} requests in {seconds} s, {:.1} a minute (all before: {before})",
        f64::from(u32::try_from(requests).unwrap()) * 60.0
            / f64::from(u32::try_from(seconds).unwrap())
    );
    for (what, count) in KINDS.lock().unwrap().iter() {
        println!("  {count} {what}");
    }
}

#[tokio::main]
async fn main() {
    let subscriber = tracing_subscriber::registry().with(Count);
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, or: u64| arguments.get(at).and_then(|n| n.parse().ok()).unwrap_or(or);
    let life = Supervisor::new("measure");
    let id = format!("m{:x}", std::process::id());
    let config = KubernetesConfig {
        namespace_prefix: format!("{id}-"),
        pod_security: PodSecurity::Baseline,
        ..KubernetesConfig::new(id.clone(), life.clone())
    };
    let namespace = format!("{id}-default");
    let engine: Arc<KubernetesEngine> = KubernetesEngine::connect(config).await.unwrap();
    match arguments.first().map(String::as_str) {
        Some("ready") => ready(&engine, &namespace, usize::try_from(number(1, 10)).unwrap()).await,
        Some("idle") => {
            idle(
                &engine,
                usize::try_from(number(1, 10)).unwrap(),
                number(2, 120),
            )
            .await
        }
        _ => println!("measure ready ROUNDS | measure idle WORKLOADS SECONDS"),
    }
    engine
        .remove_project(&ProjectName::default_project())
        .await
        .unwrap();
    life.shutdown(Duration::from_secs(1)).await;
}
