//! What runs the pods: is Docker there, or is the cluster as it should be?

use std::time::Duration;

use coracle_control::settings::{PLATFORM_ID_FILE, platform_id};
use coracle_docker::{DockerConfig, DockerEngine, Storage};
use coracle_engine::{Engine as _, EngineError};
use coracle_kubernetes::diagnosis::{self, Finding, Verdict as Judged};
use coracle_model::node::Node;
use coracle_task::Supervisor;

use crate::data_dir::DataDir;
use crate::engine::kubernetes;
use crate::error::chain;
use crate::settings::PlatformSettings;
use crate::table::bytes;

use super::{Check, PATIENCE, Verdict, of_room};

/// How long everything that is asked of a cluster may take.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn docker() -> Check {
    const WHAT: &str = "docker";
    let supervisor = Supervisor::new("doctor");
    let asked = async {
        let config = DockerConfig::new("coracle-doctor", supervisor.clone());
        let engine = DockerEngine::connect(config).await?;
        let version = engine.ping().await?;
        let node = engine.nodes().await?.into_iter().next();
        let storage = engine.storage().await?;
        Ok::<_, EngineError>((software(version.software, node), storage))
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    supervisor.shutdown(Duration::from_millis(100)).await;
    match answer {
        Ok(Ok((found, storage))) => told(WHAT, &found, &storage),
        Ok(Err(error)) => Check::fail(
            WHAT,
            chain(&error),
            "install it with `apt-get install docker.io`, start it with `systemctl start docker`, and let this user use it (`usermod -aG docker USER`)",
        ),
        Err(_elapsed) => Check::fail(
            WHAT,
            format!("no answer within {} s", PATIENCE.as_secs()),
            "look into its log: journalctl -u docker",
        ),
    }
}

fn software(version: String, node: Option<Node>) -> String {
    match node {
        Some(node) if !node.status.runtime.is_empty() => {
            format!("{}, {}", node.status.runtime, node.status.os)
        }
        _ => version,
    }
}

/// Docker is there: what it is, and whether there is room where it keeps images.
fn told(what: &'static str, software: &str, storage: &Storage) -> Check {
    let driver = &storage.driver;
    let root = storage.root.display();
    let Some(free) = storage.free else {
        return Check::ok(what, format!("{software}; storage {driver} at {root}"));
    };
    let found = format!(
        "{software}; storage {driver}, {} free at {root}",
        bytes(free)
    );
    of_room(what, free, found)
}

/// What the platform needs of its cluster. `id` is the platform's where it is known: what its pods say is evidence.
pub(super) async fn cluster(
    data: &DataDir,
    settings: &PlatformSettings,
    id: Option<String>,
) -> Vec<Check> {
    let known = data.path().join(PLATFORM_ID_FILE).exists();
    let own = known.then(|| platform_id(data.path()).ok()).flatten();
    let id = id.or(own).unwrap_or_else(|| "coracle-doctor".to_owned());
    let supervisor = Supervisor::new("doctor");
    let config = kubernetes(settings, &id, &supervisor);
    let asked = tokio::time::timeout(CLUSTER_PATIENCE, diagnosis::diagnose(&config));
    match asked.await {
        Ok(findings) => findings.into_iter().map(Check::from).collect(),
        Err(_elapsed) => {
            let found = format!("no answer within {} s", CLUSTER_PATIENCE.as_secs());
            vec![Check::fail(
                "cluster",
                found,
                "`kubectl cluster-info` must answer",
            )]
        }
    }
}

impl From<Finding> for Check {
    fn from(finding: Finding) -> Self {
        Self {
            what: finding.what,
            verdict: match finding.verdict {
                Judged::Good => Verdict::Ok,
                Judged::Doubtful => Verdict::Warn,
                Judged::Bad => Verdict::Fail,
            },
            found: finding.found,
            mend: finding.mend,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_is_told_with_its_storage_and_room() {
        let storage = |free| Storage {
            driver: "overlay2".to_owned(),
            root: "/var/lib/docker".into(),
            free,
        };
        let told = |free| told("docker", "docker 20", &storage(free));
        let check = told(Some(8 << 30));
        assert_eq!(check.verdict, Verdict::Ok);
        assert_eq!(
            check.found,
            "docker 20; storage overlay2, 8.0 GiB free at /var/lib/docker"
        );
        assert_eq!(told(Some(1 << 30)).verdict, Verdict::Warn);
        assert_eq!(told(Some(1 << 20)).verdict, Verdict::Fail);
        let unknown = told(None);
        assert_eq!(
            unknown.found,
            "docker 20; storage overlay2 at /var/lib/docker"
        );
    }

    #[tokio::test]
    async fn a_cluster_that_is_not_there_is_told_with_its_address() {
        let dir = tempfile::tempdir().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        let kubeconfig = dir.path().join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: {{server: \"http://{address}\"}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
        );
        std::fs::write(&kubeconfig, text).unwrap();
        let supervisor = Supervisor::new("test");
        let mut config = kubernetes(&PlatformSettings::default(), "id", &supervisor);
        config.access = coracle_kubernetes::config::Access::Kubeconfig {
            path: kubeconfig,
            context: None,
        };
        let checks: Vec<Check> = diagnosis::diagnose(&config)
            .await
            .into_iter()
            .map(Check::from)
            .collect();
        let [check] = checks.as_slice() else {
            panic!("nothing else is asked: {checks:?}")
        };
        assert_eq!((check.what, check.verdict), ("cluster", Verdict::Fail));
        assert!(check.found.contains(&address.to_string()), "{check:?}");
        let mend = check.mend.as_deref().unwrap();
        assert!(mend.contains("kubectl cluster-info"), "{mend}");
    }
}
