//! Credentials that are not taken or taken no more, and what is forbidden.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coracle_engine::{Engine as _, EngineError};
use coracle_kubernetes::config::Access;
use coracle_kubernetes::rbac::{RULES, Rule};
use coracle_model::name::ProjectName;
use coracle_model::pod::PodPhase;
use serde_json::{Value, json};

use super::{Bed, web};
use crate::ground::{LONG, Platform, kubeconfig};

/// A service account of its own. It is removed when this is dropped.
struct Account {
    platform: Arc<Platform>,
    name: String,
    folder: tempfile::TempDir,
}

impl Account {
    /// One that may do nothing.
    fn new(platform: &Arc<Platform>) -> Self {
        let name = format!("account-{}", platform.id);
        platform.kubectl(&["create", "namespace", &name]);
        let account = Self {
            platform: Arc::clone(platform),
            name,
            folder: tempfile::tempdir().unwrap(),
        };
        account.make();
        account
    }

    fn make(&self) {
        let own = ["serviceaccount", "engine", "-n", &self.name];
        self.platform.kubectl(&[&["create"], &own[..]].concat());
        let token = self.platform.token(&self.name, "engine");
        std::fs::write(self.token(), token).unwrap();
    }

    /// Its tokens are worth nothing any more.
    fn expire(&self) {
        let own = ["serviceaccount", "engine", "-n", &self.name];
        self.platform.kubectl(&[&["delete"], &own[..]].concat());
    }

    /// Allows it what the engine asks for, as far as `may` says so.
    fn allow(&self, may: impl Fn(&Rule, &str) -> bool) {
        let rule = |rule: &Rule| {
            let verbs: Vec<_> = rule.verbs.iter().filter(|verb| may(rule, verb)).collect();
            json!({ "apiGroups": [rule.group], "resources": [rule.resource], "verbs": verbs })
        };
        let rules: Vec<Value> = RULES.iter().map(rule).collect();
        let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": { "name": self.name },
                "rules": rules,
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": { "name": self.name },
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": self.name,
                },
                "subjects": [{ "kind": "ServiceAccount", "name": "engine", "namespace": self.name }],
            },
        ]});
        self.platform.apply(&objects.to_string());
    }

    fn token(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// An engine that reads its token from a file, as it does in a pod of the cluster.
    async fn bed(&self) -> Bed {
        as_user(&self.platform, &json!({ "tokenFile": self.token() })).await
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let role = format!("clusterrole/{0}", self.name);
        let binding = format!("clusterrolebinding/{0}", self.name);
        let namespace = format!("namespace/{0}", self.name);
        let all = [&*binding, &role, &namespace];
        let delete = ["delete", "--wait=false", "--ignore-not-found"];
        drop(self.platform.run(&[&delete[..], &all[..]].concat()));
    }
}

async fn as_user(platform: &Arc<Platform>, user: &Value) -> Bed {
    let mut config: Value = serde_json::from_str(&platform.flat()).unwrap();
    config["users"][0]["user"] = user.clone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    Bed::on(Arc::clone(platform), |config| {
        config.access = Access::Kubeconfig {
            path,
            context: None,
        };
    })
    .await
}

/// A token that is not taken is told as such.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_not_taken_are_told() {
    let Some(kubeconfig) = kubeconfig() else {
        return;
    };
    let platform = Arc::new(Platform::new(kubeconfig));
    let bed = as_user(&platform, &json!({ "token": "expired" })).await;
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

/// Credentials that expire while the engine lives are told; what runs serves on; and renewed ones are taken without a
/// new start.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_expire_are_told_and_renewed_ones_taken() {
    let Some(kubeconfig) = kubeconfig() else {
        return;
    };
    let platform = Arc::new(Platform::new(kubeconfig));
    let account = Account::new(&platform);
    account.allow(|_, _| true);
    let bed = account.bed().await;
    bed.engine.apply(web(1)).await.unwrap();
    bed.ready(&web(1), 1).await;
    account.expire();
    // The API server believes a token for some seconds more.
    let refused = async {
        let mut look = tokio::time::interval(Duration::from_millis(200));
        loop {
            look.tick().await;
            if let Err(EngineError::Credentials(_)) = bed.engine.volumes().await {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, refused).await.unwrap();
    bed.engine.apply(web(2)).await.unwrap();
    let pod = bed.says(&web(2), &["credentials"]).await;
    assert_eq!(pod.status.phase, PodPhase::Ready, "it serves on");
    account.make();
    let pods = bed.ready(&web(2), 2).await;
    assert!(pods.iter().any(|other| other.id == pod.id));
    bed.pod("nothing is in the way any more", &web(2), |pod| {
        pod.status.reason.is_none()
    })
    .await;
}

/// What is forbidden says which verb on which resource, and how to grant it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_forbidden_says_how_to_grant_it() {
    let Some(kubeconfig) = kubeconfig() else {
        return;
    };
    let platform = Arc::new(Platform::new(kubeconfig));
    let account = Account::new(&platform);
    let bed = account.bed().await;
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
}

/// One verb that is missing is told where the wish is that needs it, and once it is granted nobody has to ask again.
#[tokio::test(flavor = "multi_thread")]
async fn a_verb_that_is_missing_is_told_on_the_workload() {
    let Some(kubeconfig) = kubeconfig() else {
        return;
    };
    let platform = Arc::new(Platform::new(kubeconfig));
    let account = Account::new(&platform);
    account.allow(|rule, verb| (rule.resource, verb) != ("deployments", "patch"));
    let bed = account.bed().await;
    bed.engine.apply(web(1)).await.unwrap();
    let words = [
        "cannot patch resource",
        "deployments",
        r#"ClusterRole: {apiGroups: ["apps"], resources: ["deployments"], verbs: ["patch"]}"#,
    ];
    let pod = bed.says(&web(1), &words).await;
    assert_eq!(pod.status.phase, PodPhase::Failed);
    account.allow(|_, _| true);
    bed.ready(&web(1), 1).await;
}
