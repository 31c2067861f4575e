//! What every test of this crate stands on: an engine with a platform and namespaces of its own on the real cluster,
//! cleaned away in the end, whatever the end is.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use coracle_kubernetes::KubernetesConfig;
use coracle_kubernetes::config::{Access, PodSecurity};
use coracle_model::workload::PodId;
use coracle_task::Supervisor;

pub(crate) const IMAGE: &str = "coracle-test:1";
/// More than anything takes on a machine that others use too: pauses after crashes grow to 80 s.
pub(crate) const LONG: Duration = Duration::from_secs(240);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The cluster's kubeconfig. Nothing: tests are skipped.
pub(crate) fn kubeconfig() -> Option<PathBuf> {
    let path = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty());
    if path.is_none() {
        eprintln!("skipped: KUBECONFIG is not set (make test-kubernetes sets it)");
    }
    path.map(PathBuf::from)
}

/// A platform of its own; everything of it is removed when this is dropped.
pub(crate) struct Platform {
    pub(crate) id: String,
    /// As whom the engine comes.
    pub(crate) kubeconfig: PathBuf,
    /// As whom the tests look at what it did.
    pub(crate) admin: PathBuf,
}

impl Platform {
    pub(crate) fn new(kubeconfig: PathBuf) -> Self {
        let next = NEXT.fetch_add(1, Ordering::SeqCst);
        let id = format!("t{:x}{next:02x}", std::process::id());
        let admin = std::env::var_os("CORACLE_TEST_ADMIN_KUBECONFIG").map(PathBuf::from);
        let admin = admin.unwrap_or_else(|| kubeconfig.clone());
        Self {
            id,
            kubeconfig,
            admin,
        }
    }

    pub(crate) fn prefix(&self) -> String {
        format!("{}-", self.id)
    }

    pub(crate) fn config(&self, supervisor: &Supervisor) -> KubernetesConfig {
        KubernetesConfig {
            access: Access::Kubeconfig {
                path: self.kubeconfig.clone(),
                context: None,
            },
            namespace_prefix: self.prefix(),
            // The suite's cases write into the image's own folders, and that is root's right.
            pod_security: PodSecurity::Baseline,
            ..KubernetesConfig::new(self.id.clone(), supervisor.clone())
        }
    }

    pub(crate) fn namespace(&self, project: &str) -> String {
        format!("{}{project}", self.prefix())
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "kubectl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Applies objects in JSON.
    pub(crate) fn apply(&self, objects: &str) {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(objects.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        self.kubectl(&["apply", "-f", &path]);
    }

    /// The engine's kubeconfig, in JSON and with what it names in it.
    pub(crate) fn flat(&self) -> String {
        let config = self.kubeconfig.to_str().unwrap();
        self.kubectl(&[
            "config",
            "view",
            "--kubeconfig",
            config,
            "--flatten",
            "--minify",
            "-o",
            "json",
        ])
    }

    /// A token of a service account, in every version: asked for as a request for one.
    pub(crate) fn token(&self, namespace: &str, account: &str) -> String {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(
            br#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}"#,
        )
        .unwrap();
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let body = file.path().to_str().unwrap().to_owned();
        let answer = self.kubectl(&["create", "--raw", &path, "-f", &body]);
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        answer["status"]["token"].as_str().unwrap().to_owned()
    }

    /// The command's output, whatever its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let beside = self
            .kubeconfig
            .parent()
            .map(|folder| folder.join("bin/kubectl"));
        let program = beside.filter(|path| path.exists());
        let program = program.unwrap_or_else(|| PathBuf::from("kubectl"));
        Command::new(program)
            .env("KUBECONFIG", &self.admin)
            .args(arguments)
            .output()
            .expect("kubectl runs")
    }

    /// Names of objects of this platform, as `kind/name`.
    pub(crate) fn objects(&self, kinds: &str) -> Vec<String> {
        let label = format!("coracle.io/platform={}", self.id);
        let output = self.kubectl(&["get", kinds, "-A", "-o", "name", "-l", &label]);
        output.lines().map(str::to_owned).collect()
    }

    /// A pod's name in the cluster.
    pub(crate) fn real(&self, pod: &PodId) -> String {
        let namespace = self.namespace(pod.project.as_str());
        let names = self.kubectl(&["get", "pods", "-n", &namespace, "-o", "name"]);
        let own = format!("pod/{}", pod.name);
        if names.lines().any(|name| name == own) {
            return pod.name.to_string();
        }
        let label = format!("coracle.io/workload={}", pod.name);
        let found = self.kubectl(&["get", "pods", "-n", &namespace, "-o", "name", "-l", &label]);
        let name = found.lines().next().expect("the pod is there");
        name.trim_start_matches("pod/").to_owned()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let label = format!("coracle.io/platform={}", self.id);
        // Nobody waits for it: names are used once.
        let arguments = ["delete", "namespaces", "-l", &label, "--wait=false"];
        drop(self.run(&arguments));
    }
}
