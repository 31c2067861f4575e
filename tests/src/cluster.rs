//! A platform that drives a Kubernetes cluster from outside of it.
//!
//! Theory of operation: the control plane and the gateway are processes of this machine, which must be a node of the
//! cluster (or reach pods as nodes do). Nodes pull from `127.0.0.1:NODEPORT`, as with the chart; the Service behind that
//! port has no pods but this machine's address. Every platform has a project of its own, because a project's
//! namespace is named after it and the tests share one cluster. The program runs with the rights of
//! `KUBECONFIG`; what it did is looked at with those of `CORACLE_TEST_ADMIN_KUBECONFIG`.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::Deref;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command::Finished;
use crate::platform::{Options, Platform};
use crate::ports;
use crate::settled;
use crate::source::Source;
use crate::wait::until_ok;

/// The administrator's kubeconfig. Without it there is no test.
const ADMIN: &str = "CORACLE_TEST_ADMIN_KUBECONFIG";
/// The label that everything of a platform carries.
const PLATFORM: &str = "coracle.io/platform";
/// What a platform makes in a project's namespace, beside pods.
const KINDS: &str = "deployments,replicasets,jobs,pods,services,secrets,persistentvolumeclaims";
/// More than anything takes: a node that is lost is noticed after 40 s on many clusters, and its pods go after five
/// minutes unless the cluster was told otherwise.
pub const VERY_LONG: Duration = Duration::from_secs(240);

/// The administrator of the cluster, who looks from outside at what the platform does.
#[derive(Clone, Debug)]
pub struct Kubectl(String);

impl Kubectl {
    /// The one of `CORACLE_TEST_ADMIN_KUBECONFIG`.
    ///
    /// # Panics
    /// When there is none: these tests are only run where a cluster was prepared for them.
    #[must_use]
    pub fn given() -> Self {
        let given = std::env::var(ADMIN).ok().filter(|path| !path.is_empty());
        Self(given.unwrap_or_else(|| {
            panic!("{ADMIN} is not set: these tests need a cluster (make test-kubernetes)")
        }))
    }

    /// Runs `kubectl` and gives its output, or what it complained of.
    ///
    /// # Errors
    /// Its standard error.
    ///
    /// # Panics
    /// When there is no `kubectl`.
    pub fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        let done = Command::new("kubectl")
            .env("KUBECONFIG", &self.0)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("kubectl can be run");
        if done.status.success() {
            Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&done.stderr).trim().to_owned())
        }
    }

    /// Runs `kubectl` and gives its output.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments)
            .unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    /// Objects, as `kubectl get` gives them.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn get(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.run(&[&["get", "-o", "json"], arguments].concat());
        let mut list: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
        match list["items"].take() {
            Value::Array(items) => items,
            _ => panic!("kubectl get {arguments:?} gives no list: {list}"),
        }
    }

    /// Makes objects.
    ///
    /// # Panics
    /// When it fails.
    pub fn apply(&self, objects: &Value) {
        let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
        file.write_all(objects.to_string().as_bytes())
            .expect("a file can be written");
        let path = file.path().to_str().expect("its name is text");
        drop(self.run(&["apply", "-f", path]));
    }

    /// Names of the nodes that take any pod.
    ///
    /// # Panics
    /// When the cluster does not answer.
    #[must_use]
    pub fn nodes(&self) -> Vec<String> {
        let nodes = self.get(&["nodes"]);
        let named = nodes.iter().filter(|node| {
            let conditions = node["status"]["conditions"].as_array();
            let ready = |c: &Value| c["type"] == "Ready" && c["status"] == "True";
            node["spec"]["unschedulable"] != true
                && node["spec"]["taints"].is_null()
                && conditions.is_some_and(|all| all.iter().any(ready))
        });
        let mut names: Vec<String> = named.map(|node| text(&node["metadata"]["name"])).collect();
        names.sort();
        names
    }
}

/// A platform on the cluster. Dropped, it is stopped, and its namespaces are removed.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: what still runs would make anew what is removed.
    platform: Platform,
    sweep: Sweep,
    docker_login: TempDir,
    project: String,
}

impl Deref for Cluster {
    type Target = Platform;

    fn deref(&self) -> &Platform {
        &self.platform
    }
}

impl Cluster {
    /// Starts a platform with a project of its own.
    ///
    /// # Panics
    /// When it does not start, or there is no cluster.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with more arguments of `coracle up`.
    ///
    /// # Panics
    /// When it does not start, or there is no cluster.
    pub async fn start_with(more: &[&str]) -> Self {
        let kubectl = Kubectl::given();
        let project = format!("e{:08x}", fastrand::u32(..));
        let namespace = format!("{project}-registry");
        let listener = node_address(&kubectl);
        let mut sweep = Sweep {
            kubectl: kubectl.clone(),
            namespace: namespace.clone(),
            platform: None,
        };
        let port = node_port(&kubectl, &namespace, listener);
        let arguments = [
            "--engine",
            "kubernetes",
            "--registry-listen",
            &listener.to_string(),
            "--node-registry",
            &format!("127.0.0.1:{port}"),
        ];
        let arguments = arguments.into_iter().chain(more.iter().copied());
        let platform = Platform::prepare(Options {
            arguments: arguments.map(str::to_owned).collect(),
            ..Options::default()
        });
        platform.up().await;
        sweep.platform = Some(platform.id());
        let cluster = Self {
            platform,
            sweep,
            docker_login: TempDir::with_prefix("coracle-e2e-docker.")
                .expect("a folder can be made"),
            project,
        };
        cluster.make_project(&cluster.project).await;
        cluster.log_docker_in().await;
        cluster
    }

    /// Makes one more project.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn make_project(&self, name: &str) {
        let wish = json!({"metadata": {"name": name}, "spec": {}});
        self.api().await.post("/projects", &wish).await.ok();
    }

    async fn log_docker_in(&self) {
        let made = self.coracle(&["tokens", "create", "push"]).await;
        let token = made.ok().split_whitespace().last().expect("a token");
        let folder = self.docker_login.path().to_str().expect("its name is text");
        let host = self.listen().to_string();
        let done = tokio::task::block_in_place(|| {
            let mut login = self.docker().command();
            login.args(["--config", folder, "login", &host, "--username", "admin"]);
            login.args(["--password", token]);
            login.output().expect("docker can be run")
        });
        assert!(done.status.success(), "docker login: {done:?}");
    }

    /// Builds a folder with this machine's Docker and pushes it to the platform's registry. Gives the image's name.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn push(&self, source: &Source, app: &str, tag: &str) -> String {
        self.push_for(&self.project, source, app, tag)
    }

    /// The same for another project.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn push_for(&self, project: &str, source: &Source, app: &str, tag: &str) -> String {
        let image = format!("{}/{project}/{app}:{tag}", self.listen());
        let folder = self.docker_login.path().to_str().expect("its name is text");
        tokio::task::block_in_place(|| {
            drop(
                self.docker()
                    .run(&["build", "--quiet", "--tag", &image, source.arg()]),
            );
            let push = ["--config", folder, "push", "--quiet", &image];
            drop(self.docker().run(&push));
            // The nodes pull it from there: this machine's Docker may be one of theirs, but knows it by another name.
            drop(self.docker().run(&["rmi", &image]));
        });
        image
    }

    /// The platform's own project.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Path of the project, or of something in it, in the API.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("/projects/{}{path}", self.project)
    }

    /// The host name of an app of the project.
    #[must_use]
    pub fn host(&self, app: &str) -> String {
        format!("{app}-{}.localhost", self.project)
    }

    /// The project's namespace.
    #[must_use]
    pub fn namespace(&self) -> String {
        format!("coracle-{}", self.project)
    }

    /// The cluster's administrator.
    #[must_use]
    pub const fn kubectl(&self) -> &Kubectl {
        &self.sweep.kubectl
    }

    /// Runs a command for the project.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        let line = [&["--project", &self.project], arguments].concat();
        self.coracle(&line).await
    }

    /// Deploys an image.
    pub async fn deploy(&self, app: &str, image: &str) -> Finished {
        self.run(&["deploy", "--image", image, "--app", app]).await
    }

    /// The project's pods, as the API tells them.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn pods(&self) -> Vec<Value> {
        let pods = self.api().await.list(&self.at("/pods")).await;
        pods.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits until nothing is under way any more and the cluster has what the API says: every pod once, in the namespaces
    /// of the platform's projects and nowhere else. Gives the time.
    ///
    /// # Panics
    /// When that does not come true in time, with what is in the way.
    pub async fn settled(&self) -> Duration {
        let look = || async {
            let told = settled::told(self).await?;
            let there = tokio::task::block_in_place(|| self.there())?;
            if there == told.pods {
                Ok(())
            } else {
                Err(format!(
                    "the cluster has {there:?}, the API says {:?}",
                    told.pods
                ))
            }
        };
        until_ok("the platform to settle", VERY_LONG, look).await.1
    }

    /// The platform's pods in the cluster, as `PROJECT/POD`.
    fn there(&self) -> Result<Vec<String>, String> {
        let label = format!("{PLATFORM}={}", self.id());
        let form = "jsonpath={range .items[*]}{.metadata.labels.coracle\\.io/project}/{.metadata.name}{\"\\n\"}{end}";
        let pods = ["get", "pods", "-A", "-l", &label, "-o", form];
        let pods = self.kubectl().try_run(&pods)?;
        let mut pods: Vec<String> = pods.lines().map(str::to_owned).collect();
        pods.sort();
        Ok(pods)
    }

    /// What the platform has in the cluster, as `NAMESPACE/KIND/NAME`, without what every project has.
    ///
    /// # Panics
    /// When the cluster does not answer.
    #[must_use]
    pub fn objects(&self) -> Vec<String> {
        let label = format!("{PLATFORM}={}", self.id());
        let objects = self.kubectl().get(&[KINDS, "-A", "-l", &label]);
        let own = |object: &&Value| object["metadata"]["name"] != "coracle-registry";
        let name = |object: &Value| {
            let meta = &object["metadata"];
            let [namespace, kind] = [&meta["namespace"], &object["kind"]].map(text);
            format!("{namespace}/{kind}/{}", text(&meta["name"]))
        };
        objects.iter().filter(own).map(name).collect()
    }

    /// The platform's namespaces.
    ///
    /// # Panics
    /// When the cluster does not answer.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        let label = format!("{PLATFORM}={}", self.id());
        let found = self.kubectl().get(&["namespaces", "-l", &label]);
        found
            .iter()
            .map(|space| text(&space["metadata"]["name"]))
            .collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A free port at an address of this machine under which the cluster knows it as a node.
fn node_address(kubectl: &Kubectl) -> SocketAddr {
    let path = "jsonpath={.items[*].status.addresses[?(@.type==\"InternalIP\")].address}";
    let found = kubectl.run(&["get", "nodes", "-o", path]);
    let mut addresses = found
        .split_whitespace()
        .filter_map(|a| a.parse::<IpAddr>().ok());
    let ours = addresses.find(|address| TcpListener::bind((*address, 0)).is_ok());
    let address = ours.expect("this machine is a node of the cluster");
    SocketAddr::new(address, ports::free().port())
}

/// Makes a port of every node that leads to `address`.
fn node_port(kubectl: &Kubectl, namespace: &str, address: SocketAddr) -> String {
    drop(kubectl.run(&["create", "namespace", namespace]));
    let meta = json!({"name": "registry", "namespace": namespace});
    let ports = json!([{"port": address.port()}]);
    let endpoint = json!({"addresses": [{"ip": address.ip().to_string()}], "ports": ports});
    kubectl.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"type": "NodePort", "ports": ports}},
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": [endpoint]},
    ]}));
    let path = "jsonpath={.spec.ports[0].nodePort}";
    kubectl.run(&["get", "service", "registry", "-n", namespace, "-o", path])
}

/// What is left in the cluster when a test ends.
#[derive(Debug)]
struct Sweep {
    kubectl: Kubectl,
    namespace: String,
    platform: Option<String>,
}

impl Drop for Sweep {
    fn drop(&mut self) {
        // Nobody waits for it: names are used once.
        let sweep = |what: &[&str]| {
            let line = [&["delete", "namespace", "--wait=false"], what].concat();
            if let Err(error) = self.kubectl.try_run(&line) {
                eprintln!("left behind in the cluster: {what:?}: {error}");
            }
        };
        sweep(&["--ignore-not-found", &self.namespace]);
        if let Some(platform) = &self.platform {
            sweep(&["-l", &format!("{PLATFORM}={platform}")]);
        }
    }
}

/// A machine that can be stopped: a node of a cluster for tests whose nodes are containers.
#[derive(Debug)]
pub struct Machine {
    container: String,
}

impl Machine {
    /// The machine of a node. `None` where the nodes are no containers of this machine, which is said.
    #[must_use]
    pub fn of(platform: &Platform, node: &str) -> Option<Self> {
        let container = format!("kube-{node}");
        let form = "{{index .Config.Labels \"kube-test\"}}";
        let label = platform
            .docker()
            .try_run(&["inspect", "-f", form, &container]);
        let found = label.is_ok_and(|label| label == "node");
        if !found {
            eprintln!("{node} is no container of this machine");
        }
        found.then_some(Self { container })
    }

    /// Cuts its power.
    ///
    /// # Panics
    /// When that fails.
    pub fn stop(&self) {
        drop(docker(&["kill", &self.container]));
    }

    /// Starts it again.
    ///
    /// # Panics
    /// When that fails.
    pub fn start(&self) {
        drop(docker(&["start", &self.container]));
    }
}

fn docker(arguments: &[&str]) -> String {
    crate::Docker::default().run(arguments)
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Whatever came of the test: others need the node.
        let program = Path::new("/usr/bin/docker");
        if let Err(error) = Command::new(program)
            .args(["start", &self.container])
            .output()
        {
            eprintln!("{} is not started again: {error}", self.container);
        }
    }
}
