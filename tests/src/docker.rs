//! What Docker itself says, asked without the platform.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// The label that everything of a platform carries.
const PLATFORM: &str = "io.coracle.platform";

/// A Docker daemon.
#[derive(Clone, Debug, Default)]
pub struct Docker {
    /// Its socket; the machine's own when absent.
    pub socket: Option<PathBuf>,
}

impl Docker {
    /// The value of `DOCKER_HOST` that means it, where it is not the machine's own.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        self.socket
            .as_ref()
            .map(|socket| format!("unix://{}", socket.display()))
    }

    pub(crate) fn command(&self) -> Command {
        // Debian's, before one that somebody put in its place.
        let program = if std::path::Path::new("/usr/bin/docker").exists() {
            "/usr/bin/docker"
        } else {
            "docker"
        };
        let mut command = Command::new(program);
        if let Some(host) = self.host() {
            command.env("DOCKER_HOST", host);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs `docker` and gives its output.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments)
            .unwrap_or_else(|error| panic!("docker {arguments:?}: {error}"))
    }

    /// Runs `docker` and gives its output, or what it complained of.
    ///
    /// # Errors
    /// Its standard error.
    ///
    /// # Panics
    /// When there is no `docker`.
    pub fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        let done = self
            .command()
            .args(arguments)
            .output()
            .expect("docker can be run");
        if done.status.success() {
            Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&done.stderr).trim().to_owned())
        }
    }

    fn lines(&self, arguments: &[&str]) -> Vec<String> {
        let mut lines: Vec<String> = self.run(arguments).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// The platform's containers, whatever their state, as `PROJECT/POD`.
    #[must_use]
    pub fn pods(&self, platform: &str) -> Vec<String> {
        let form = "{{.Label \"io.coracle.project\"}}/{{.Label \"io.coracle.pod\"}}";
        self.lines(&["ps", "-a", "--filter", &filter(platform), "--format", form])
    }

    /// The platform's networks, by their project.
    #[must_use]
    pub fn networks(&self, platform: &str) -> Vec<String> {
        let form = "{{.Label \"io.coracle.project\"}}";
        self.lines(&[
            "network",
            "ls",
            "--filter",
            &filter(platform),
            "--format",
            form,
        ])
    }

    /// The platform's volumes.
    #[must_use]
    pub fn volumes(&self, platform: &str) -> Vec<String> {
        self.lines(&["volume", "ls", "-q", "--filter", &filter(platform)])
    }

    /// The platform's images in the daemon: those that carry its label, and those named after its registry.
    #[must_use]
    pub fn images(&self, platform: &str, registry: &str) -> Vec<String> {
        let form = "{{.Repository}}:{{.Tag}}@{{.ID}}";
        let mut all: BTreeSet<String> = self
            .lines(&[
                "images",
                "-a",
                "--filter",
                &filter(platform),
                "--format",
                form,
            ])
            .into_iter()
            .collect();
        let named = format!("reference={registry}/*/*");
        all.extend(self.lines(&["images", "-a", "--filter", &named, "--format", form]));
        all.into_iter().collect()
    }

    /// Takes note of every container of the platform that is made from now on.
    ///
    /// # Panics
    /// When Docker does not tell.
    #[must_use]
    pub fn note_made(&self, platform: &str) -> Made {
        let notes = tempfile::NamedTempFile::new().expect("a file can be made");
        let child = self
            .command()
            .args([
                "events",
                "--filter",
                "type=container",
                "--filter",
                "event=create",
            ])
            .args([
                "--filter",
                &filter(platform),
                "--format",
                "{{json .Actor.Attributes}}",
            ])
            .stdout(notes.reopen().expect("a file can be opened again"))
            .spawn()
            .expect("docker can be run");
        Made { notes, child }
    }

    /// The id of a pod's container.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn container(&self, platform: &str, project: &str, pod: &str) -> String {
        let [project, pod] = [
            format!("label=io.coracle.project={project}"),
            format!("label=io.coracle.pod={pod}"),
        ];
        let found = self.lines(&[
            "ps",
            "-aq",
            "--no-trunc",
            "--filter",
            &filter(platform),
            "--filter",
            &project,
            "--filter",
            &pod,
        ]);
        let [id] = found.as_slice() else {
            panic!("{} containers are {project} {pod}", found.len());
        };
        id.clone()
    }

    /// What `docker inspect` says.
    ///
    /// # Panics
    /// When there is no such thing.
    #[must_use]
    pub fn inspect(&self, id: &str) -> Value {
        let text = self.run(&["inspect", id]);
        let mut all: Vec<Value> = serde_json::from_str(&text).expect("docker prints JSON");
        all.remove(0)
    }

    /// Removes everything of a platform. Best effort: the daemon may be gone.
    pub(crate) fn sweep(&self, platform: Option<&str>, registry: &str) {
        let each = |list: &[&str], remove: &[&str]| {
            let ids = self.try_run(list).unwrap_or_default();
            for id in ids.lines().collect::<BTreeSet<_>>() {
                let done = self.try_run(&[remove, &[id]].concat());
                if let Err(error) = done {
                    eprintln!("left behind: {remove:?} {id}: {error}");
                }
            }
        };
        if let Some(platform) = platform {
            let filter = filter(platform);
            each(&["ps", "-aq", "--filter", &filter], &["rm", "-f", "-v"]);
            each(
                &["network", "ls", "-q", "--filter", &filter],
                &["network", "rm"],
            );
            each(
                &["volume", "ls", "-q", "--filter", &filter],
                &["volume", "rm", "-f"],
            );
            each(&["images", "-q", "--filter", &filter], &["rmi", "-f"]);
        }
        let named = format!("reference={registry}/*/*");
        each(&["images", "-q", "--filter", &named], &["rmi", "-f"]);
    }
}

/// Containers that were made.
#[derive(Debug)]
pub struct Made {
    notes: tempfile::NamedTempFile,
    child: Child,
}

impl Made {
    /// How many containers were made for each release of an app, by the release's number.
    ///
    /// # Panics
    /// When the notes cannot be read.
    #[must_use]
    pub fn of_app(&self, app: &str) -> BTreeMap<u64, usize> {
        let text = std::fs::read_to_string(self.notes.path()).expect("it was made by this harness");
        let mut made = BTreeMap::new();
        // A line may be half written.
        let labels = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        for labels in labels.filter(|labels| labels["io.coracle.app"] == app) {
            let release = labels["io.coracle.release"].as_str();
            let release = release.and_then(|number| number.trim_start_matches('v').parse().ok());
            *made
                .entry(release.expect("a pod of an app has a release"))
                .or_default() += 1;
        }
        made
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // It ended by itself, then.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn filter(platform: &str) -> String {
    format!("label={PLATFORM}={platform}")
}
