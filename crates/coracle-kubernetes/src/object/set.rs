//! Deployments, Jobs, and what stands beside them.

use std::collections::BTreeMap;

use coracle_model::workload::Workload;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Map, Value, json};

use super::template::template;
use crate::config::KubernetesConfig;
use crate::facts::{Facts, MANAGED_BY, NAME_PREFIX, REPLICAS, SET, STOPPING, labels};
use crate::naming;

/// A Deployment of one generation of a workload. Its template never changes: a new generation is another Deployment,
/// so that the engine decides when old pods leave and nothing rolls by itself.
pub(crate) fn deployment(config: &KubernetesConfig, workload: &Workload, replicas: u32) -> Value {
    let facts = Facts::of(workload);
    let name = naming::set(&workload.id.name, workload.generation);
    let (metadata, spec) = template(config, workload, &name);
    let mut annotations = facts.annotations();
    annotations.insert(REPLICAS.to_owned(), replicas.to_string());
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "labels": facts.labels(&config.platform),
            "annotations": annotations,
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "selector": { "matchLabels": { SET: name } },
            "template": { "metadata": metadata, "spec": spec },
        },
    })
}

/// A Deployment that exists, applied again with another number of replicas, and the template that it has: one that this
/// process would write differently must not make its pods start anew.
pub(crate) fn resubmit(live: &Deployment, replicas: u32) -> Value {
    let ours = |map: Option<&BTreeMap<String, String>>| -> Map<String, Value> {
        map.into_iter()
            .flatten()
            .filter(|(name, _)| name.contains("coracle.io/") || name.as_str() == MANAGED_BY)
            .filter(|(name, _)| name.as_str() != STOPPING)
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect()
    };
    let mut annotations = ours(live.metadata.annotations.as_ref());
    annotations.insert(REPLICAS.to_owned(), json!(replicas.to_string()));
    let spec = live.spec.as_ref();
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": live.metadata.name,
            "uid": live.metadata.uid,
            "labels": ours(live.metadata.labels.as_ref()),
            "annotations": annotations,
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "selector": spec.map(|s| &s.selector),
            "template": spec.map(|s| &s.template),
        },
    })
}

/// A Job of one generation of a task. One that waits for somebody to attach has no pods at first.
pub(crate) fn job(config: &KubernetesConfig, workload: &Workload) -> Value {
    let facts = Facts::of(workload);
    let name = naming::set(&workload.id.name, workload.generation);
    let (metadata, spec) = template(config, workload, &name);
    let parallelism = u32::from(facts.kind.terminal().is_none());
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "labels": facts.labels(&config.platform),
            "annotations": facts.annotations(),
        },
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": parallelism,
            "template": { "metadata": metadata, "spec": spec },
        },
    })
}

/// The Service that makes a name lead to the ready pods of the workloads that have it.
pub(crate) fn service(config: &KubernetesConfig, workload: &Workload, name: &str) -> Value {
    let mut spec = json!({
        "clusterIP": "None",
        "selector": { format!("{NAME_PREFIX}{name}"): "yes" },
    });
    if let Some(port) = workload.template.port {
        spec["ports"] = json!([{ "name": "main", "port": port, "protocol": "TCP" }]);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "labels": labels(&config.platform, &workload.id.project) },
        "spec": spec,
    })
}

/// That a drain of nodes takes one pod of several at a time.
pub(crate) fn disruption_budget(
    config: &KubernetesConfig,
    workload: &Workload,
    version: &str,
) -> Value {
    let facts = Facts::of(workload);
    let name = naming::set(&workload.id.name, workload.generation);
    json!({
        "apiVersion": format!("policy/{version}"),
        "kind": "PodDisruptionBudget",
        "metadata": { "name": name, "labels": facts.labels(&config.platform) },
        "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { SET: name } } },
    })
}
