//! `coracle doctor` on a healthy cluster and on ones that lack something, and `coracle down`.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use coracle_e2e::{Cluster, Kubectl, Source, VERY_LONG, until};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

/// What `coracle doctor` found.
struct Doctor {
    code: Option<i32>,
    checks: Vec<Value>,
}

impl Doctor {
    /// Asks it, with another kubeconfig than the platform's own where there is one.
    async fn ask(cluster: &Cluster, kubeconfig: Option<&Path>) -> Self {
        let mut command = Command::new(cluster.program());
        command
            .envs(cluster.login())
            .args(["--output", "json", "doctor", "--data-dir"])
            .arg(cluster.data())
            .stdin(Stdio::null());
        if let Some(path) = kubeconfig {
            command.env("KUBECONFIG", path);
        }
        let output = command.output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let found: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}: {text}\n{output:?}"));
        let list = found.get("items").unwrap_or(&found).as_array();
        Self {
            code: output.status.code(),
            checks: list.unwrap_or_else(|| panic!("{found}")).clone(),
        }
    }

    fn of(&self, what: &str) -> &Value {
        let found = self.checks.iter().find(|check| check["what"] == what);
        found.unwrap_or_else(|| panic!("nothing is said of {what}: {:?}", self.checks))
    }

    /// A check has this verdict, and says all of `words` in what it found or how to mend it.
    #[track_caller]
    fn says(&self, what: &str, verdict: &str, words: &[&str]) {
        let check = self.of(what);
        assert_eq!(check["verdict"], verdict, "{check}");
        let said = format!("{}\n{}", text(&check["found"]), text(&check["mend"]));
        for word in words {
            assert!(said.contains(word), "{word:?} is missing: {said}");
        }
    }

    fn failed(&self) -> Vec<&str> {
        let failed = self
            .checks
            .iter()
            .filter(|check| check["verdict"] == "fail");
        failed
            .map(|check| check["what"].as_str().unwrap())
            .collect()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The administrator's kubeconfig, changed.
fn kubeconfig(
    folder: &TempDir,
    name: &str,
    kubectl: &Kubectl,
    change: impl Fn(&mut Value),
) -> std::path::PathBuf {
    let flat = ["config", "view", "--minify", "--flatten", "-o", "json"];
    let mut config: Value = serde_json::from_str(&kubectl.run(&flat)).unwrap();
    change(&mut config);
    let path = folder.path().join(name);
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

/// The rules of the shipped ClusterRole: the file has one field a line, each a list in JSON.
fn shipped_rules() -> Vec<Value> {
    let file = "/../deploy/helm/coracle/files/engine-rules.yaml";
    let text = std::fs::read_to_string([env!("CARGO_MANIFEST_DIR"), file].concat()).unwrap();
    let mut rules: Vec<Value> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (field, list) = line.split_once(": ").unwrap();
        if let Some(first) = field.strip_prefix("- ") {
            rules.push(json!({ first: serde_json::from_str::<Value>(list).unwrap() }));
        } else if let Some(rule) = rules.last_mut() {
            rule[field.trim()] = serde_json::from_str(list).unwrap();
        }
    }
    rules
}

/// A service account with the shipped ClusterRole, but for some verbs. Removed when dropped.
struct Account<'a> {
    kubectl: &'a Kubectl,
    name: String,
    namespace: String,
}

impl<'a> Account<'a> {
    fn without(cluster: &'a Cluster, group: &str, resource: &str, verb: &str) -> Self {
        let kubectl = cluster.kubectl();
        let name = format!("doctor-{}", cluster.project());
        let namespace = cluster.namespace();
        let mut rules = shipped_rules();
        for rule in &mut rules {
            let has = |field: &str, wanted: &str| {
                rule[field]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|one| one == wanted))
            };
            if has("apiGroups", group) && has("resources", resource) {
                let verbs = rule["verbs"].as_array_mut().unwrap();
                verbs.retain(|other| other != verb);
            }
        }
        let account = json!({ "kind": "ServiceAccount", "name": name, "namespace": namespace });
        let reference = json!({
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name,
        });
        let rbac = "rbac.authorization.k8s.io/v1";
        let meta = json!({ "name": name });
        let own = json!({ "name": name, "namespace": namespace });
        kubectl.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": [
            { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": own },
            { "apiVersion": rbac, "kind": "ClusterRole", "metadata": meta, "rules": rules },
            { "apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": meta, "roleRef": reference, "subjects": [account] },
        ]}));
        Self {
            kubectl,
            name,
            namespace,
        }
    }

    fn kubeconfig(&self, folder: &TempDir) -> std::path::PathBuf {
        let token = ["create", "token", &self.name, "-n", &self.namespace];
        let token = self.kubectl.run(&token);
        kubeconfig(folder, "account", self.kubectl, |config| {
            config["users"][0]["user"] = json!({ "token": token });
        })
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        let delete = [
            "delete",
            "--wait=false",
            "clusterrole,clusterrolebinding",
            &self.name,
        ];
        if let Err(error) = self.kubectl.try_run(&delete) {
            eprintln!("left behind in the cluster: {}: {error}", self.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_says_what_is_well_and_names_what_is_missing() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kubectl();
    let image = cluster.push(&Source::page("hello"), "shop", "1");
    cluster.deploy("shop", &image).await.ok();

    let well = Doctor::ask(&cluster, None).await;
    assert_eq!(
        (well.code, well.failed()),
        (Some(0), vec![]),
        "{:?}",
        well.checks
    );
    well.says("rights", "ok", &["that are needed"]);
    well.says("cluster", "ok", &["Kubernetes v1."]);
    let metrics = kubectl.run(&["api-versions"]).contains("metrics.k8s.io");
    let told = text(&well.of("cluster")["found"]).contains("no metrics API");
    assert_eq!(told, !metrics, "{}", well.of("cluster"));

    let folder = TempDir::with_prefix("coracle-doctor.").unwrap();
    let account = Account::without(&cluster, "apps", "deployments", "patch");
    let poor = Doctor::ask(&cluster, Some(&account.kubeconfig(&folder))).await;
    assert_eq!(
        (poor.code, poor.failed()),
        (Some(1), vec!["rights"]),
        "{:?}",
        poor.checks
    );
    let rule = r#"{apiGroups: ["apps"], resources: ["deployments"], verbs: ["patch"]}"#;
    poor.says(
        "rights",
        "fail",
        &["patch deployments.apps", "ClusterRole", rule],
    );

    let nobody = kubeconfig(&folder, "nobody", kubectl, |config| {
        config["users"][0]["user"] = json!({ "token": "expired" });
    });
    let unknown = Doctor::ask(&cluster, Some(&nobody)).await;
    assert_eq!(unknown.code, Some(1), "{:?}", unknown.checks);

    // Nobody listens at the one; at the other somebody does, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for (name, address) in [
        ("nowhere", "127.0.0.1:1".to_owned()),
        ("silent", silent.local_addr().unwrap().to_string()),
    ] {
        let there = kubeconfig(&folder, name, kubectl, |config| {
            config["clusters"][0]["cluster"]["server"] = json!(format!("https://{address}"));
        });
        let away = Doctor::ask(&cluster, Some(&there)).await;
        assert_eq!(away.code, Some(1), "{:?}", away.checks);
        away.says("cluster", "fail", &[&address, "kubectl cluster-info"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn down_stops_the_platforms_own_pods_and_nothing_else() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kubectl();
    let image = cluster.push(&Source::page("hello"), "shop", "1");
    cluster.deploy("shop", &image).await.ok();
    cluster.run(&["scale", "shop", "web=2"]).await.ok();
    cluster.settled().await;
    // Somebody else's, in the same namespace, of another platform even.
    let namespace = cluster.namespace();
    let labels = json!({ "a": "stranger", "coracle.io/platform": "another" });
    kubectl.apply(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "stranger", "namespace": namespace, "labels": labels },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "main", "image": coracle_e2e::TEST_IMAGE, "imagePullPolicy": "IfNotPresent" }] },
            },
        },
    }));
    let pods = || kubectl.get(&["pods", "-n", &namespace]);
    let strangers = || -> Vec<Value> {
        let own = pods()
            .into_iter()
            .filter(|pod| pod["metadata"]["labels"]["a"] == "stranger");
        own.map(|pod| pod["metadata"]["uid"].clone()).collect()
    };
    until("the stranger's pod to be there", VERY_LONG, || async {
        strangers().len() == 1
    })
    .await;
    let before = strangers();
    let spaces = cluster.namespaces();

    cluster.down().await;
    until("the platform's pods to be gone", VERY_LONG, || async {
        pods().len() == 1
    })
    .await;
    assert_eq!(strangers(), before, "it is left alone");
    assert_eq!(cluster.namespaces(), spaces, "the projects stay");
    // What is down on purpose is no fault of the cluster.
    let doctor = Doctor::ask(&cluster, None).await;
    doctor.says("cluster", "ok", &[]);

    cluster.up().await;
    cluster
        .serves(&cluster.host("shop"), "/", 200, "hello")
        .await;
    assert_eq!(strangers(), before);
    kubectl
        .try_run(&["delete", "deployment", "stranger", "-n", &namespace])
        .unwrap();
    cluster.settled().await;
}
