//! From what was asked to findings. Pure.

use std::collections::{BTreeMap, BTreeSet};

use coracle_model::node::{Node, Scheduling};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt as _;

use super::{Finding, METRICS};
use crate::rbac::Rule;

/// So many names stand in one sentence.
const MOST_NAMES: usize = 5;
/// What the platform does without where it must.
const OPTIONAL: [&str; 3] = ["nodes/proxy", "resourcequotas", "storageclasses"];
const DEFAULT_CLASS: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

/// The first few, and how many more.
fn names<T: AsRef<str>>(all: &[T]) -> String {
    let first: Vec<&str> = all.iter().take(MOST_NAMES).map(AsRef::as_ref).collect();
    let first = first.join(", ");
    match all.len().saturating_sub(MOST_NAMES) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

pub(super) fn of_rights(missing: &[(&Rule, Vec<&str>)], asked: usize) -> Finding {
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

pub(super) fn of_nodes(nodes: &[Node]) -> Finding {
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

pub(super) fn of_storage(classes: &[StorageClass], wished: Option<&str>) -> Finding {
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
pub(super) struct Pulls {
    /// Nodes that have some.
    pub(super) have: BTreeSet<String>,
    /// A node that cannot get one, and what it says.
    trouble: Option<(String, String)>,
}

pub(super) fn pulls(pods: &[Pod], host: &str) -> Pulls {
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
pub(super) enum Reached {
    /// The port of each node.
    Ports(BTreeMap<String, bool>),
    /// A name, from this machine.
    Here(Result<(), String>),
}

/// The port, where `host` is a loopback address: every node's own.
pub(super) fn loopback_port(host: &str) -> Option<u16> {
    let (name, port) = host.rsplit_once(':')?;
    let address: std::net::IpAddr = name.trim_matches(['[', ']']).parse().ok()?;
    address.is_loopback().then(|| port.parse().ok())?
}

pub(super) fn of_registry(host: &str, nodes: &[Node], pulls: &Pulls, reached: &Reached) -> Finding {
    const WHAT: &str = "registry for nodes";
    let try_it = |node: &str| {
        format!(
            "on {node}, `curl http://{host}/v2/` says 401 where all is well; \"Images to nodes\" in docs/kubernetes.md has the ways out"
        )
    };
    if let Some((node, words)) = &pulls.trouble {
        let found = format!("{node} cannot pull from {host}: {words}");
        return Finding::bad(WHAT, found, try_it(node));
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
        Reached::Ports(ports) if ports.is_empty() && pulls.have.is_empty() => {
            let found = format!("{host} of each node; not tried, and {have}");
            Finding::doubtful(WHAT, found, try_it("a node"))
        }
        Reached::Ports(ports) => {
            // One that has pulled needs no other proof.
            let silent: Vec<&String> = ports
                .iter()
                .filter(|(node, answers)| !**answers && !pulls.have.contains(*node))
                .map(|(node, _)| node)
                .collect();
            let found = format!("{host} of each node; {have}");
            match silent.first() {
                None => Finding::good(WHAT, found),
                Some(first) => {
                    let found = format!("{found}; the port does not answer on {}", names(&silent));
                    Finding::doubtful(WHAT, found, try_it(first))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::rbac;
    use k8s_openapi::api::core::v1::Node as KubeNode;
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
            crate::node::read(&node)
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
        let untried = of_registry(
            HOST,
            &[],
            &Pulls::default(),
            &Reached::Ports(BTreeMap::new()),
        );
        assert_eq!(untried.verdict, Verdict::Doubtful);
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
