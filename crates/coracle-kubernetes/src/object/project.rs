//! A project's namespace and what stands in it from the start.

use std::collections::BTreeMap;

use base64::Engine as _;
use coracle_engine::build::{PullCredentials, RegistryCredentials};
use coracle_model::name::{ProjectName, VolumeName};
use coracle_model::quantity::ByteSize;
use serde_json::{Value, json};

use crate::config::KubernetesConfig;
use crate::facts::{SIZE, VOLUME, labels};
use crate::naming;

/// The NetworkPolicy of a project.
pub(crate) const NETWORK_POLICY: &str = "coracle-project";
/// The ResourceQuota of a project.
pub(crate) const QUOTA: &str = "coracle-project";
/// The pull secret of a project.
pub(crate) const PULL_SECRET: &str = "coracle-registry";
/// For namespaces that may reach every project, where the cluster does not label namespaces with their names (before 1.21).
const SYSTEM: &str = "coracle.io/system";

/// A project's namespace.
pub(crate) fn namespace(config: &KubernetesConfig, project: &ProjectName, name: &str) -> Value {
    let mut labels = labels(&config.platform, project);
    let level = config.pod_security.level();
    for mode in ["enforce", "warn"] {
        labels.insert(
            format!("pod-security.kubernetes.io/{mode}"),
            level.to_owned(),
        );
    }
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": name, "labels": labels },
    })
}

/// Pods are reached from their own project and from the platform's own namespace, and from nowhere else.
pub(crate) fn network_policy(config: &KubernetesConfig, project: &ProjectName) -> Value {
    let mut from = vec![
        json!({ "podSelector": {} }),
        json!({ "namespaceSelector": { "matchLabels": { SYSTEM: "true" } } }),
    ];
    if let Some(system) = &config.system_namespace {
        from.push(json!({
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": system } }
        }));
    }
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": NETWORK_POLICY, "labels": labels(&config.platform, project) },
        "spec": { "podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{ "from": from }] },
    })
}

/// A project's quota.
pub(crate) fn quota(
    config: &KubernetesConfig,
    project: &ProjectName,
    hard: &BTreeMap<String, String>,
) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": { "name": QUOTA, "labels": labels(&config.platform, project) },
        "spec": { "hard": hard },
    })
}

/// How the nodes log in to the platform's registry for a project's images, by the name that they have for it.
pub(crate) fn pull_secret(
    config: &KubernetesConfig,
    project: &ProjectName,
    pull: &PullCredentials,
) -> Value {
    let encode = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    let host = match &config.registry {
        Some(names) if names.own == pull.host => &names.nodes,
        _ => &pull.host,
    };
    let login = |credentials: &RegistryCredentials| {
        let (user, password) = (&credentials.user, credentials.password.expose());
        json!({ "auth": encode(format!("{user}:{password}")) })
    };
    let others = pull.others.iter().map(|other| {
        let host = match other.host.as_str() {
            // As kubelets look for it.
            "docker.io" => "https://index.docker.io/v1/",
            host => host,
        };
        (host.to_owned(), login(&other.credentials))
    });
    let mut auths: serde_json::Map<String, Value> = others.collect();
    auths.insert(host.clone(), login(&pull.credentials));
    let file = json!({ "auths": auths }).to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": PULL_SECRET, "labels": labels(&config.platform, project) },
        "type": "kubernetes.io/dockerconfigjson",
        "data": { ".dockerconfigjson": encode(file) },
    })
}

/// The claim of a volume.
pub(crate) fn claim(
    config: &KubernetesConfig,
    project: &ProjectName,
    volume: &VolumeName,
    size: Option<ByteSize>,
) -> Value {
    let mut labels = labels(&config.platform, project);
    labels.insert(VOLUME.to_owned(), volume.to_string());
    let bytes = size.unwrap_or(config.default_volume_size).0;
    let mut annotations = BTreeMap::new();
    if let Some(size) = size {
        annotations.insert(SIZE, size.0.to_string());
    }
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": { "requests": { "storage": bytes.to_string() } },
    });
    if let Some(class) = &config.storage_class {
        spec["storageClassName"] = json!(class);
    }
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": naming::claim(volume),
            "labels": labels,
            "annotations": annotations,
        },
        "spec": spec,
    })
}
