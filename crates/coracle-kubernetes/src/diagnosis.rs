//! What a cluster lacks for the platform to work on it, and how to mend it: without an engine, for whoever looks for the
//! cause of a fault.
//!
//! Theory of operation: everything is asked once and bounded in time. What may not be asked is said to be unknown and is no
//! fault. How nodes reach the registry cannot be seen from outside of them: what pods say of their images is evidence, and a
//! NodePort is tried through the API server's proxy to the node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coracle_engine::EngineError;
use coracle_model::node::{Node, Scheduling};
use futures::StreamExt as _;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Node as KubeNode, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};

use crate::client::{engine_error, way};
use crate::config::KubernetesConfig;
use crate::facts::PLATFORM;
use crate::rbac::{self, Rule};
use crate::{image, node};

/// For one answer of the API server.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions at the same time.
const AT_ONCE: usize = 8;
/// So many nodes' ports are tried.
const MOST_NODES: usize = 50;
/// So many names stand in one sentence.
const MOST_NAMES: usize = 5;
/// API groups without which nothing runs.
const GROUPS: [&str; 4] = ["apps", "batch", "networking.k8s.io", "policy"];
const METRICS: &str = "metrics.k8s.io";
/// What the platform does without where it must.
const OPTIONAL: [&str; 3] = ["nodes/proxy", "resourcequotas", "storageclasses"];
/// On the pods of the chart's gateways.
const GATEWAYS: &str = "app.kubernetes.io/name=coracle,app.kubernetes.io/component=gateway";
const DEFAULT_CLASS: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

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
        let mend = match error {
            EngineError::Forbidden { grant, .. } => grant.clone(),
            _ => "`kubectl get --raw /readyz?verbose` asks the API server how it is".to_owned(),
        };
        Self::doubtful(what, format!("not known: {error}"), mend)
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
            Finding::bad(WHAT, format!("{at}{}", with_cause(error)), mend),
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
    let client = match Client::try_from(way) {
        Ok(client) => client,
        Err(error) => return failed(&engine_error(error), &shown),
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

/// An error with what caused it, which it does not say itself.
fn with_cause(error: &EngineError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
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

/// The first few, and how many more.
fn names<T: AsRef<str>>(all: &[T]) -> String {
    let first: Vec<&str> = all.iter().take(MOST_NAMES).map(AsRef::as_ref).collect();
    let first = first.join(", ");
    match all.len().saturating_sub(MOST_NAMES) {
        0 => first,
        more => format!("{first} and {more} more"),
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
        let Ok(request) = http::Request::get(path).body(Vec::new()) else {
            return false;
        };
        match tokio::time::timeout(PATIENCE, self.client.request_text(request)).await {
            Ok(Ok(_)) => true,
            // Nobody gets in without credentials: that it asks for them shows that it is there.
            Ok(Err(kube::Error::Api(status))) => status.code == 401,
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
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
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

fn of_rights(missing: &[(&Rule, Vec<&str>)], asked: usize) -> Finding {
    const WHAT: &str = "rights";
    if missing.is_empty() {
        return Finding::good(WHAT, format!("all {asked} that are needed"));
    }
    let quoted = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        words.join(", ")
    };
    let lacks: Vec<String> = missing
        .iter()
        .map(|(rule, verbs)| {
            let dot = if rule.group.is_empty() { "" } else { "." };
            let (resource, group) = (rule.resource, rule.group);
            format!(
                "{} {resource}{dot}{group} ({})",
                verbs.join("/"),
                rule.reason
            )
        })
        .collect();
    let rules: Vec<String> = missing
        .iter()
        .map(|(rule, verbs)| {
            let (group, resource, verbs) = (rule.group, rule.resource, quoted(verbs));
            format!("{{apiGroups: [\"{group}\"], resources: [\"{resource}\"], verbs: [{verbs}]}}")
        })
        .collect();
    let found = format!("missing: {}", lacks.join("; "));
    let mend = format!(
        "add to the platform's ClusterRole, or install the Helm chart of this version again: {}",
        rules.join(" ")
    );
    let optional = |rule: &Rule| rule.group == METRICS || OPTIONAL.contains(&rule.resource);
    if missing.iter().all(|(rule, _)| optional(rule)) {
        Finding::doubtful(WHAT, found, mend)
    } else {
        Finding::bad(WHAT, found, mend)
    }
}

fn of_nodes(nodes: &[Node]) -> Finding {
    const WHAT: &str = "nodes";
    let name = |node: &&Node| node.metadata.name.clone();
    let broken: Vec<&Node> = nodes.iter().filter(|node| !node.status.ready).collect();
    let cordoned: Vec<String> = nodes
        .iter()
        .filter(|node| node.spec.scheduling == Scheduling::Cordoned)
        .map(|node| node.metadata.name.clone())
        .collect();
    let ready = nodes.len() - broken.len();
    let mut found = format!("{ready} of {} are ready", nodes.len());
    let versions: BTreeSet<&str> = nodes
        .iter()
        .filter_map(|node| node.status.kubelet.as_deref())
        .collect();
    let runtimes: BTreeSet<&str> = nodes.iter().map(|node| &*node.status.runtime).collect();
    let software: Vec<&str> = versions.into_iter().chain(runtimes).collect();
    if !software.is_empty() {
        found.push_str(&format!(" ({})", software.join(", ")));
    }
    if !cordoned.is_empty() {
        found.push_str(&format!("; cordoned: {}", names(&cordoned)));
    }
    if let Some(first) = broken.first() {
        let all: Vec<String> = broken.iter().map(name).collect();
        let reason = first.status.reason.as_deref().unwrap_or("unknown");
        found.push_str(&format!("; not ready: {} ({reason})", names(&all)));
        let mend = format!("kubectl describe node {}", first.metadata.name);
        return match ready {
            0 => Finding::bad(WHAT, found, mend),
            _ => Finding::doubtful(WHAT, found, mend),
        };
    }
    if nodes.is_empty() {
        return Finding::bad(WHAT, "there is none", "join machines to the cluster");
    }
    if cordoned.len() == nodes.len() {
        return Finding::bad(WHAT, found, "coracle nodes uncordon NODE");
    }
    Finding::good(WHAT, found)
}

fn of_storage(classes: &[StorageClass], wished: Option<&str>) -> Finding {
    const WHAT: &str = "storage class";
    let is_default = |class: &&StorageClass| {
        let annotations = class.annotations();
        DEFAULT_CLASS
            .iter()
            .any(|name| annotations.get(*name).is_some_and(|value| value == "true"))
    };
    let all: Vec<String> = classes.iter().map(kube::ResourceExt::name_any).collect();
    let there = match all.is_empty() {
        true => "the cluster has none".to_owned(),
        false => format!("there is {}", names(&all)),
    };
    let name = match wished {
        Some(wished) if all.iter().any(|name| name == wished) => wished.to_owned(),
        Some(wished) => {
            let found = format!("{wished} is not there; {there}");
            return Finding::bad(
                WHAT,
                found,
                "name one of them with --storage-class (pods.storageClass in the chart)",
            );
        }
        None => match classes.iter().find(is_default) {
            Some(class) => format!("{}, the cluster's default", class.name_any()),
            None => {
                let found = format!("no default class, so apps can have no volumes; {there}");
                let mend = "install a provisioner such as local-path, or name a class with --storage-class (pods.storageClass in the chart)";
                return Finding::doubtful(WHAT, found, mend);
            }
        },
    };
    Finding::good(WHAT, name)
}

/// What pods tell of images of the registry that nodes know by `host`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pulls {
    /// Nodes that have some.
    have: BTreeSet<String>,
    /// A node that cannot get one, and what it says.
    trouble: Option<(String, String)>,
}

fn pulls(pods: &[Pod], host: &str) -> Pulls {
    let mut pulls = Pulls::default();
    for pod in pods {
        let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else {
            continue;
        };
        let own = spec
            .containers
            .first()
            .and_then(|main| main.image.as_deref());
        let own = own
            .and_then(|image| image.strip_prefix(host))
            .is_some_and(|rest| rest.starts_with('/'));
        let (true, Some(node)) = (own, &spec.node_name) else {
            continue;
        };
        let container = status.container_statuses.iter().flatten().next();
        let Some(container) = container else { continue };
        let waiting = container
            .state
            .as_ref()
            .and_then(|state| state.waiting.as_ref());
        let stuck = waiting.filter(|waiting| {
            let reason = waiting.reason.as_deref();
            matches!(reason, Some("ErrImagePull" | "ImagePullBackOff"))
        });
        if let Some(stuck) = stuck {
            let words = stuck.message.clone().unwrap_or_default();
            pulls.trouble = Some((node.clone(), words));
        } else if !container.image_id.is_empty() {
            pulls.have.insert(node.clone());
        }
    }
    pulls
}

/// What was tried of the way from nodes to the registry.
enum Reached {
    /// The port of each node.
    Ports(BTreeMap<String, bool>),
    /// A name, from this machine.
    Here(Result<(), String>),
}

/// The port, where `host` is a loopback address: every node's own.
fn loopback_port(host: &str) -> Option<u16> {
    let (name, port) = host.rsplit_once(':')?;
    let address: std::net::IpAddr = name.trim_matches(['[', ']']).parse().ok()?;
    address.is_loopback().then(|| port.parse().ok())?
}

fn of_registry(host: &str, nodes: &[Node], pulls: &Pulls, reached: &Reached) -> Finding {
    const WHAT: &str = "registry for nodes";
    let try_it = format!(
        "on a node, `curl http://{host}/v2/` says 401 where all is well; \"Images to nodes\" in docs/kubernetes.md has the ways out"
    );
    if let Some((node, words)) = &pulls.trouble {
        let found = format!("{node} cannot pull from {host}: {words}");
        return Finding::bad(WHAT, found, try_it);
    }
    let all = nodes.len();
    let have = match pulls.have.len() {
        0 => "no node has pulled yet".to_owned(),
        some => format!("{some} of {all} nodes have pulled"),
    };
    match reached {
        Reached::Here(Ok(())) => Finding::good(WHAT, format!("{host} answers here; {have}")),
        Reached::Here(Err(words)) => {
            let found = format!("{host} does not answer here: {words}; {have}");
            Finding::doubtful(
                WHAT,
                found,
                "see --node-registry, and that its certificate is good",
            )
        }
        Reached::Ports(ports) => {
            // One that has pulled needs no other proof.
            let silent: Vec<&String> = ports
                .iter()
                .filter(|(node, answers)| !**answers && !pulls.have.contains(*node))
                .map(|(node, _)| node)
                .collect();
            let found = format!("{host} of each node; {have}");
            if silent.is_empty() {
                Finding::good(WHAT, found)
            } else {
                let found = format!("{found}; the port does not answer on {}", names(&silent));
                Finding::doubtful(WHAT, found, try_it)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn nodes(all: &[(&str, &str)]) -> Vec<Node> {
        let node = |(name, ready): &(&str, &str)| {
            let node: KubeNode = serde_json::from_value(json!({
                "metadata": { "name": name },
                "status": {
                    "nodeInfo": {
                        "kubeletVersion": "v1.20.2", "containerRuntimeVersion": "docker://20.10.24",
                        "architecture": "amd64", "bootID": "", "kernelVersion": "", "kubeProxyVersion": "",
                        "machineID": "", "operatingSystem": "", "osImage": "", "systemUUID": "",
                    },
                    "conditions": [{ "type": "Ready", "status": ready, "message": "no network" }],
                },
            }))
            .unwrap();
            super::node::read(&node)
        };
        all.iter().map(node).collect()
    }

    fn pod(node: &str, image: &str, status: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "web" },
            "spec": { "nodeName": node, "containers": [{ "name": "main", "image": image }] },
            "status": { "containerStatuses": [status] },
        }))
        .unwrap()
    }

    fn status(id: &str, waiting: Option<&str>) -> Value {
        let state = waiting.map_or(
            json!({ "running": {} }),
            |reason| json!({ "waiting": { "reason": reason, "message": "connection refused" } }),
        );
        json!({ "name": "main", "image": "i", "imageID": id, "ready": true, "restartCount": 0, "state": state })
    }

    #[test]
    fn nodes_are_judged_by_how_many_are_left() {
        let good = of_nodes(&nodes(&[("a", "True"), ("b", "True")]));
        assert_eq!(good.verdict, Verdict::Good);
        assert_eq!(good.found, "2 of 2 are ready (v1.20.2, docker 20.10.24)");
        let one = of_nodes(&nodes(&[("a", "True"), ("b", "False")]));
        assert_eq!(one.verdict, Verdict::Doubtful);
        assert!(one.found.contains("not ready: b (no network)"), "{one:?}");
        let none = of_nodes(&nodes(&[("a", "Unknown")]));
        assert_eq!(none.verdict, Verdict::Bad);
        assert_eq!(of_nodes(&[]).verdict, Verdict::Bad);
    }

    #[test]
    fn missing_rights_come_with_the_rules_that_grant_them() {
        let rule = |resource: &str| rbac::RULES.iter().find(|r| r.resource == resource).unwrap();
        assert_eq!(of_rights(&[], 90).verdict, Verdict::Good);
        let bad = of_rights(&[(rule("deployments"), vec!["create", "patch"])], 90);
        assert_eq!(bad.verdict, Verdict::Bad);
        assert!(
            bad.found.contains("create/patch deployments.apps"),
            "{bad:?}"
        );
        let mend = bad.mend.unwrap();
        let granted =
            r#"{apiGroups: ["apps"], resources: ["deployments"], verbs: ["create", "patch"]}"#;
        assert!(mend.contains(granted), "{mend}");
        let less = of_rights(&[(rule("nodes/proxy"), vec!["get"])], 90);
        assert_eq!(less.verdict, Verdict::Doubtful);
    }

    #[test]
    fn volumes_need_a_class() {
        let class = |name: &str, default: &str| -> StorageClass {
            serde_json::from_value(json!({
                "metadata": { "name": name, "annotations": { DEFAULT_CLASS[0]: default } },
                "provisioner": "p",
            }))
            .unwrap()
        };
        let classes = [class("slow", "false"), class("fast", "true")];
        let found = |wished| of_storage(&classes, wished);
        assert_eq!(found(None).found, "fast, the cluster's default");
        assert_eq!(found(Some("slow")).verdict, Verdict::Good);
        assert_eq!(found(Some("gold")).verdict, Verdict::Bad);
        assert_eq!(of_storage(&classes[..1], None).verdict, Verdict::Doubtful);
    }

    #[test]
    fn what_pods_say_of_their_images_is_evidence() {
        const HOST: &str = "127.0.0.1:30070";
        let own = "127.0.0.1:30070/shop/web:1";
        let pods = [
            pod("a", own, &status("docker-pullable://x", None)),
            pod("b", "nginx:1", &status("docker-pullable://y", None)),
            pod(
                "b",
                "127.0.0.1:300701/x:1",
                &status("", Some("ErrImagePull")),
            ),
        ];
        let seen = pulls(&pods, HOST);
        assert_eq!(seen.have, BTreeSet::from(["a".to_owned()]));
        assert_eq!(seen.trouble, None);
        let two = nodes(&[("a", "True"), ("b", "True")]);
        let ports = |b| Reached::Ports(BTreeMap::from([("a".into(), false), ("b".into(), b)]));
        let good = of_registry(HOST, &two, &seen, &ports(true));
        assert_eq!(good.verdict, Verdict::Good, "a has pulled, b answers");
        let silent = of_registry(HOST, &two, &seen, &ports(false));
        assert_eq!(silent.verdict, Verdict::Doubtful);
        assert!(silent.found.ends_with("does not answer on b"), "{silent:?}");
        let stuck = [pod("b", own, &status("", Some("ImagePullBackOff")))];
        let bad = of_registry(HOST, &two, &pulls(&stuck, HOST), &ports(true));
        assert_eq!(bad.verdict, Verdict::Bad);
        assert!(bad.found.contains("b cannot pull"), "{bad:?}");
    }

    #[test]
    fn only_a_loopback_address_is_every_nodes_own() {
        assert_eq!(loopback_port("127.0.0.1:30070"), Some(30070));
        assert_eq!(loopback_port("[::1]:30070"), Some(30070));
        for other in ["10.0.0.1:30070", "registry.example.org:443", "127.0.0.1"] {
            assert_eq!(loopback_port(other), None, "{other}");
        }
    }
}
