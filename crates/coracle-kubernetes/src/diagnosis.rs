//! What a cluster lacks for the platform to work on it, and how to mend it: without an engine, for whoever looks for the
//! cause of a fault.
//!
//! Theory of operation: everything is asked once and bounded in time. What may not be asked is said to be unknown and is no
//! fault. How nodes reach the registry cannot be seen from outside of them: what pods say of their images is evidence, and a
//! NodePort is tried through the API server's proxy to the node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coracle_engine::EngineError;
use coracle_model::node::Node;
use futures::StreamExt as _;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Node as KubeNode, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{ListParams, PostParams};
use kube::client::Body;
use kube::{Api, Client};

use crate::client::{self, chain, engine_error, way};
use crate::config::KubernetesConfig;
use crate::facts::PLATFORM;
use crate::rbac::{self, Rule};
use crate::{image, node};
use judge::{Reached, loopback_port, of_nodes, of_registry, of_rights, of_storage, pulls};

mod judge;

/// For one answer of the API server.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions at the same time.
const AT_ONCE: usize = 8;
/// So many nodes' ports are tried.
const MOST_NODES: usize = 50;
/// API groups without which nothing runs.
const GROUPS: [&str; 4] = ["apps", "batch", "networking.k8s.io", "policy"];
const METRICS: &str = "metrics.k8s.io";
/// On the pods of the chart's gateways.
const GATEWAYS: &str = "app.kubernetes.io/name=coracle,app.kubernetes.io/component=gateway";

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be, as far as can be known.
    Good,
    /// It works, or is not known to.
    Doubtful,
    /// It does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub what: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// How to mend it.
    pub mend: Option<String>,
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self {
            what,
            verdict: Verdict::Good,
            found: found.into(),
            mend: None,
        }
    }

    fn doubtful(what: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Doubtful,
            mend: Some(mend.into()),
            ..Self::good(what, found)
        }
    }

    fn bad(what: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Bad,
            mend: Some(mend.into()),
            ..Self::good(what, found)
        }
    }

    /// What may not be asked is not known.
    fn unknown(what: &'static str, error: &EngineError) -> Self {
        match error {
            EngineError::Forbidden { what: words, grant } => {
                Self::doubtful(what, format!("not known: {words}"), grant.clone())
            }
            error => Self::doubtful(
                what,
                format!("not known: {}", chain(error)),
                "`kubectl get --raw /readyz?verbose` asks the API server how it is",
            ),
        }
    }
}

/// Looks at everything that the platform needs of a cluster.
pub async fn diagnose(config: &KubernetesConfig) -> Vec<Finding> {
    let (cluster, look) = cluster(config).await;
    let Some(look) = look else {
        return vec![cluster];
    };
    let nodes = look.nodes().await;
    let (rights, storage, registry, gateways) = tokio::join!(
        look.rights(),
        look.storage(),
        look.registry(nodes.as_deref().unwrap_or_default()),
        look.gateways()
    );
    let nodes = match &nodes {
        Ok(nodes) => of_nodes(nodes),
        Err(error) => Finding::unknown("nodes", error),
    };
    let mut findings = vec![cluster, rights, nodes, storage, registry];
    findings.extend(gateways);
    findings
}

struct Look<'a> {
    config: &'a KubernetesConfig,
    client: Client,
    groups: BTreeSet<String>,
}

/// Is the API server there, and what has it?
async fn cluster(config: &KubernetesConfig) -> (Finding, Option<Look<'_>>) {
    const WHAT: &str = "cluster";
    let failed = |error: &EngineError, at: &str| {
        let mend = match error {
            EngineError::Credentials(_) => {
                "the credentials are no good any more: renew those of KUBECONFIG, or the pod's service account token"
            }
            EngineError::Refused(_) => {
                "name a cluster: KUBECONFIG=FILE, or run this in a pod with a service account"
            }
            _ => {
                "`kubectl cluster-info` with the same KUBECONFIG must answer: is the address right, does the API server run, is a firewall between?"
            }
        };
        (
            Finding::bad(WHAT, format!("{at}{}", chain(error)), mend),
            None,
        )
    };
    let way = match way(config).await {
        Ok(way) => way,
        Err(error) => return failed(&error, ""),
    };
    let at = way.cluster_url.to_string();
    let at = at.trim_end_matches('/');
    let shown = format!("{at}: ");
    let client = match client::connect(way, config.patience) {
        Ok(client) => client,
        Err(error) => return failed(&error, &shown),
    };
    let version = match bounded(client.apiserver_version()).await {
        Ok(version) => version.git_version,
        Err(error) => return failed(&error, &shown),
    };
    let groups: BTreeSet<String> = match bounded(client.list_api_groups()).await {
        Ok(list) => list.groups.into_iter().map(|group| group.name).collect(),
        Err(error) => return failed(&error, &shown),
    };
    let lacking: Vec<&str> = GROUPS
        .into_iter()
        .filter(|group| !groups.contains(*group))
        .collect();
    let finding = if lacking.is_empty() {
        let figures = match groups.contains(METRICS) {
            true => "",
            false => "; no metrics API, figures come from the kubelets",
        };
        Finding::good(WHAT, format!("Kubernetes {version} at {at}{figures}"))
    } else {
        let found = format!(
            "Kubernetes {version} at {at} has no API {}",
            lacking.join(", ")
        );
        Finding::bad(WHAT, found, "use a cluster of version 1.20 or later")
    };
    let look = Look {
        config,
        client,
        groups,
    };
    (finding, Some(look))
}

async fn bounded<T>(asked: impl Future<Output = Result<T, kube::Error>>) -> Result<T, EngineError> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(engine_error),
        Err(_elapsed) => {
            let late = format!("no answer within {} s", PATIENCE.as_secs());
            Err(EngineError::Unavailable(Box::new(std::io::Error::other(
                late,
            ))))
        }
    }
}

impl Look<'_> {
    async fn nodes(&self) -> Result<Vec<Node>, EngineError> {
        let api: Api<KubeNode> = Api::all(self.client.clone());
        let found = bounded(api.list(&ListParams::default())).await?;
        Ok(found.items.iter().map(node::read).collect())
    }

    /// Which of the engine's rights are missing?
    async fn rights(&self) -> Finding {
        const WHAT: &str = "rights";
        let asked = rbac::RULES
            .iter()
            .filter(|rule| rule.group != METRICS || self.groups.contains(METRICS))
            .flat_map(|rule| rule.verbs.iter().map(move |verb| (rule, *verb)));
        let answers: Vec<_> = futures::stream::iter(asked)
            .map(|(rule, verb)| async move { (rule, verb, self.allowed(rule, verb).await) })
            .buffered(AT_ONCE)
            .collect()
            .await;
        let mut missing: Vec<(&Rule, Vec<&str>)> = Vec::new();
        let mut count = 0;
        for (rule, verb, answer) in answers {
            count += 1;
            match answer {
                Ok(true) => {}
                Ok(false) => match missing.last_mut() {
                    Some((last, verbs)) if *last == rule => verbs.push(verb),
                    _ => missing.push((rule, vec![verb])),
                },
                Err(error) => return Finding::unknown(WHAT, &error),
            }
        }
        of_rights(&missing, count)
    }

    async fn allowed(&self, rule: &Rule, verb: &str) -> Result<bool, EngineError> {
        let (resource, subresource) = match rule.resource.split_once('/') {
            Some((resource, sub)) => (resource, Some(sub.to_owned())),
            None => (rule.resource, None),
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(rule.group.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource,
                    verb: Some(verb.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let answer = bounded(api.create(&PostParams::default(), &review)).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// Is there a class that volumes can be of?
    async fn storage(&self) -> Finding {
        let api: Api<StorageClass> = Api::all(self.client.clone());
        match bounded(api.list(&ListParams::default())).await {
            Ok(found) => of_storage(&found.items, self.config.storage_class.as_deref()),
            Err(error) => Finding::unknown("storage class", &error),
        }
    }

    /// Can the nodes pull from the platform's registry?
    async fn registry(&self, nodes: &[Node]) -> Finding {
        const WHAT: &str = "registry for nodes";
        let Some(names) = &self.config.registry else {
            return Finding::doubtful(WHAT, "nodes have none", "");
        };
        let api: Api<Pod> = Api::all(self.client.clone());
        let own = format!("{PLATFORM}={}", self.config.platform);
        let pods = match bounded(api.list(&ListParams::default().labels(&own))).await {
            Ok(pods) => pods.items,
            Err(error) => return Finding::unknown(WHAT, &error),
        };
        let pulls = pulls(&pods, &names.nodes);
        let reached = match loopback_port(&names.nodes) {
            Some(port) => Reached::Ports(self.ports(nodes, port).await),
            None => Reached::Here(image::registry_answers(&names.nodes).await),
        };
        of_registry(&names.nodes, nodes, &pulls, &reached)
    }

    /// Whether a port of each node that is ready takes requests, asked through the API server.
    async fn ports(&self, nodes: &[Node], port: u16) -> BTreeMap<String, bool> {
        let ready = nodes.iter().filter(|node| node.status.ready);
        futures::stream::iter(ready.take(MOST_NODES))
            .map(|node| async move {
                let name = &node.metadata.name;
                (name.clone(), self.port_answers(name, port).await)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    }

    async fn port_answers(&self, node: &str, port: u16) -> bool {
        let path = format!("/api/v1/nodes/http:{node}:{port}/proxy/v2/");
        let Ok(request) = http::Request::get(path).body(Body::empty()) else {
            return false;
        };
        // Not by the calls that read the API server's own answers: this one is the registry's. Nobody gets in without
        // credentials: that it asks for them shows that it is there.
        match tokio::time::timeout(PATIENCE, self.client.send(request)).await {
            Ok(Ok(answer)) => matches!(answer.status().as_u16(), 200 | 401),
            _ => false,
        }
    }

    /// The gateways of the chart, where the platform has a namespace there.
    async fn gateways(&self) -> Option<Finding> {
        const WHAT: &str = "gateways";
        let namespace = self.config.system_namespace.as_deref()?;
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pods = match bounded(api.list(&ListParams::default().labels(GATEWAYS))).await {
            Ok(pods) => pods.items,
            Err(error) => return Some(Finding::unknown(WHAT, &error)),
        };
        let stays = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
        let pods: Vec<&Pod> = pods.iter().filter(stays).collect();
        let ready = pods.iter().copied().filter(|pod| is_ready(pod)).count();
        let found = format!("{ready} of {} pods in {namespace} are ready", pods.len());
        let mend = format!("kubectl -n {namespace} describe pods -l {GATEWAYS}");
        Some(match ready {
            0 if pods.is_empty() => {
                let found = format!("there is none in namespace {namespace}");
                Finding::doubtful(
                    WHAT,
                    found,
                    "those of other namespaces and machines are not seen from here",
                )
            }
            0 => Finding::bad(WHAT, found, mend),
            ready if ready < pods.len() => Finding::doubtful(WHAT, found, mend),
            _ => Finding::good(WHAT, found),
        })
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .filter_map(|status| status.conditions.as_ref());
    conditions
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
