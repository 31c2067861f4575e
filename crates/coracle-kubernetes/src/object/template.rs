//! A pod asked for.
//!
//! What a pod may do is decided here and nowhere else: no service account's token, no privileges to gain, no
//! capabilities but those of the level that was configured, the runtime's seccomp profile, bounded memory.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_model::release::{CommandLine, Health};
use coracle_model::workload::{PodTemplate, Workload};
use serde_json::{Map, Value, json};

use crate::config::{KubernetesConfig, PodSecurity};
use crate::facts::{FACTS, Facts, NAME_PREFIX, PodKind, SET};
use crate::naming;
use crate::object::PULL_SECRET;

/// The one container of a pod.
pub(crate) const CONTAINER: &str = "main";
/// The capabilities that ordinary images need to change to their own user and to bind low ports: the ones that the
/// Docker engine leaves too. All are within the Pod Security Standard `baseline`.
const CAPABILITIES: [&str; 9] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETPCAP",
    "SETUID",
];
/// Between two probes of a pod that has not answered yet.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// From a pod's start until it must have answered, without a health check.
const GRACE: Duration = Duration::from_mins(1);
/// For one answer, without a health check.
const TIMEOUT: Duration = Duration::from_secs(2);
/// So many times the failures that make a pod unready make it restart.
const RESTART_FACTOR: u32 = 3;
/// Least processor time that is kept free for a pod, in thousandths.
const LEAST_CPU_REQUEST: u32 = 10;

/// The Secret with a workload's environment. Nothing without one.
pub(crate) fn environment(
    config: &KubernetesConfig,
    workload: &Workload,
    set: &str,
) -> Option<Value> {
    if workload.template.env.is_empty() {
        return None;
    }
    let facts = Facts::of(workload);
    let data: BTreeMap<&str, &str> = workload
        .template
        .env
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    Some(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": naming::environment(set),
            "labels": facts.labels(&config.platform),
        },
        "type": "Opaque",
        "stringData": data,
    }))
}

/// Metadata and spec of a pod of a workload. `set` names the Deployment, Job or bare pod that it is of.
pub(super) fn template(
    config: &KubernetesConfig,
    workload: &Workload,
    set: &str,
) -> (Value, Value) {
    let facts = Facts::of(workload);
    let mut labels = facts.labels(&config.platform);
    labels.insert(SET.to_owned(), set.to_owned());
    for name in workload
        .template
        .names
        .iter()
        .filter_map(|n| naming::service(n))
    {
        labels.insert(format!("{NAME_PREFIX}{name}"), "yes".to_owned());
    }
    let metadata = json!({
        "labels": labels,
        "annotations": { FACTS: facts.annotations().remove(FACTS) },
    });
    (metadata, pod_spec(config, workload, &facts, set))
}

/// A bare pod.
pub(crate) fn bare_pod(config: &KubernetesConfig, workload: &Workload) -> Value {
    let set = workload.id.name.as_str();
    let (mut metadata, spec) = template(
        config,
        workload,
        &naming::set(&workload.id.name, workload.generation),
    );
    metadata["name"] = json!(set);
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec })
}

fn pod_spec(config: &KubernetesConfig, workload: &Workload, facts: &Facts, set: &str) -> Value {
    let template = &workload.template;
    let restart = if facts.kind.is_task() {
        "Never"
    } else {
        "Always"
    };
    let mut spec = json!({
        "restartPolicy": restart,
        "terminationGracePeriodSeconds": whole_seconds(template.stop_grace).max(1),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": pod_security(config.pod_security),
        "containers": [container(config, template, facts.kind, set)],
    });
    if facts.kind == PodKind::Replicated {
        // As well as it goes: a pod that has to share a node is better than none.
        spec["topologySpreadConstraints"] = json!([{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": { SET: set } },
        }]);
    }
    if !template.volumes.is_empty() {
        let volumes = template.volumes.iter().map(|mount| {
            json!({
                "name": mount.volume.as_str(),
                "persistentVolumeClaim": { "claimName": naming::claim(&mount.volume) },
            })
        });
        spec["volumes"] = volumes.collect();
    }
    if config.registry.is_some() {
        spec["imagePullSecrets"] = json!([{ "name": PULL_SECRET }]);
    }
    spec
}

fn container(config: &KubernetesConfig, template: &PodTemplate, kind: PodKind, set: &str) -> Value {
    let mut container = json!({
        "name": CONTAINER,
        "image": image(config, template.image.as_str()),
        "imagePullPolicy": "IfNotPresent",
        "securityContext": container_security(config.pod_security),
        "resources": resources(config, template),
    });
    match &template.command {
        None => {}
        Some(CommandLine::Shell(line)) => {
            container["command"] = json!(["/bin/sh", "-c"]);
            container["args"] = json!([line_of(line)]);
        }
        // The first word as command: the image's own entry point must not be put before it.
        Some(CommandLine::Exec(words)) => {
            container["command"] = words.iter().take(1).map(|w| json!(line_of(w))).collect();
            container["args"] = words.iter().skip(1).map(|w| json!(line_of(w))).collect();
        }
    }
    if !template.env.is_empty() {
        container["envFrom"] = json!([{ "secretRef": { "name": naming::environment(set) } }]);
    }
    if let Some(port) = template.port {
        let told = template.env.iter().any(|(name, _)| name.as_str() == "PORT");
        if !told {
            container["env"] = json!([{ "name": "PORT", "value": port.to_string() }]);
        }
        container["ports"] = json!([{ "name": "main", "containerPort": port, "protocol": "TCP" }]);
        if !kind.is_task() {
            probes(&mut container, port, template.health.as_ref());
        }
    }
    if let Some(terminal) = kind.terminal() {
        container["stdin"] = json!(true);
        container["stdinOnce"] = json!(true);
        container["tty"] = json!(matches!(
            terminal,
            coracle_model::workload::Terminal::Tty { .. }
        ));
    }
    if !template.volumes.is_empty() {
        let mounts = template
            .volumes
            .iter()
            .map(|mount| json!({ "name": mount.volume.as_str(), "mountPath": mount.path }));
        container["volumeMounts"] = mounts.collect();
    }
    container
}

/// Kubernetes replaces `$(NAME)` in commands, which is nobody's wish here; `$$` is its way to write a dollar.
fn line_of(text: &str) -> String {
    text.replace('$', "$$")
}

/// The name under which nodes pull an image.
fn image(config: &KubernetesConfig, image: &str) -> String {
    let rest = config.registry.as_ref().and_then(|names| {
        let rest = image.strip_prefix(names.own.as_str())?;
        rest.starts_with('/')
            .then(|| format!("{}{rest}", names.nodes))
    });
    rest.unwrap_or_else(|| image.to_owned())
}

fn probes(container: &mut Value, port: u16, health: Option<&Health>) {
    let path = health.and_then(|h| h.path.as_deref());
    let timeout = whole_seconds(health.map_or(TIMEOUT, |h| h.timeout.0)).max(1);
    let grace = whole_seconds(health.map_or(GRACE, |h| h.grace.0)).max(1);
    let probe = |interval: Duration, failures: u64| {
        let mut probe = Map::new();
        match path {
            Some(path) => probe.insert(
                "httpGet".to_owned(),
                json!({ "path": path, "port": port, "scheme": "HTTP" }),
            ),
            None => probe.insert("tcpSocket".to_owned(), json!({ "port": port })),
        };
        probe.insert(
            "periodSeconds".to_owned(),
            json!(whole_seconds(interval).max(1)),
        );
        probe.insert("timeoutSeconds".to_owned(), json!(timeout));
        probe.insert("failureThreshold".to_owned(), json!(failures.max(1)));
        Value::Object(probe)
    };
    // Asked often until the first answer: a deploy waits for it.
    container["startupProbe"] = probe(FIRST_INTERVAL, grace);
    match health {
        Some(health) => {
            let interval = health.interval.0;
            container["readinessProbe"] = probe(interval, u64::from(health.failures));
            let restart = health.failures.saturating_mul(RESTART_FACTOR);
            container["livenessProbe"] = probe(interval, u64::from(restart));
        }
        // Without a health check it counts as ready from its first answer to its end; the question is cheap.
        None => container["readinessProbe"] = probe(FIRST_INTERVAL, 30),
    }
}

fn resources(config: &KubernetesConfig, template: &PodTemplate) -> Value {
    let memory = template.resources.memory.unwrap_or(config.default_memory).0;
    let part = u64::from(config.requests.memory_percent.min(100));
    let memory_request = (memory / 100).saturating_mul(part).max(1);
    let mut limits = json!({ "memory": memory.to_string() });
    let mut cpu_request = LEAST_CPU_REQUEST;
    if let Some(cpu) = template.resources.cpu {
        limits["cpu"] = json!(format!("{}m", cpu.milli()));
        let part = u64::from(cpu.milli()) * u64::from(config.requests.cpu_percent.min(100)) / 100;
        let part = u32::try_from(part).unwrap_or(u32::MAX);
        cpu_request = part.max(LEAST_CPU_REQUEST.min(cpu.milli()));
    }
    json!({
        "limits": limits,
        "requests": { "memory": memory_request.to_string(), "cpu": format!("{cpu_request}m") },
    })
}

fn pod_security(level: PodSecurity) -> Value {
    match level {
        PodSecurity::Restricted { uid } => json!({
            "runAsNonRoot": true,
            "runAsUser": uid,
            "runAsGroup": uid,
            "fsGroup": uid,
            "seccompProfile": { "type": "RuntimeDefault" },
        }),
        PodSecurity::Baseline => json!({ "seccompProfile": { "type": "RuntimeDefault" } }),
    }
}

fn container_security(level: PodSecurity) -> Value {
    match level {
        PodSecurity::Restricted { .. } => json!({
            "allowPrivilegeEscalation": false,
            "privileged": false,
            "capabilities": { "drop": ["ALL"] },
        }),
        PodSecurity::Baseline => json!({
            "allowPrivilegeEscalation": false,
            "privileged": false,
            "capabilities": { "drop": ["ALL"], "add": CAPABILITIES },
        }),
    }
}

/// Kubernetes counts in whole seconds; nobody gets less than was promised.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
