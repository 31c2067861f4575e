//! What the API server is asked for a build. Pure: from a request to objects in JSON.
//!
//! Theory of operation: one Job is one build, one pod at a time does it. Its containers run one after another, each with
//! a fixed command line and no shell: first Coracle's own program fetches the source into a folder that the pod's
//! containers share, then the build tool builds, and pushes. What is secret (the ticket for the source, the registry's
//! pass) stands in one Secret, mounted key by key into the containers that need it, and goes with the Job.
//!
//! The build tool changes users within a user namespace of its own. So it may gain the right to write the maps of that
//! namespace, and neither seccomp nor AppArmor may keep it from making one: that is more than the Pod Security Standards
//! `baseline` and `restricted` allow, and why builds have a namespace apart from the projects'.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use coracle_engine::build::BuildRequest;
use coracle_model::env::Secret;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::config::{BuildConfig, BuildTool};
use super::tool;
use crate::config::KubernetesConfig;
use crate::facts::{MANAGED_BY, MANAGER, PLATFORM};

/// The build's id, cut to a label's length.
pub(crate) const BUILD: &str = "coracle.io/build";
/// Where the image goes.
pub(super) const IMAGE: &str = "coracle.io/image";
/// On the builds' namespace.
const BUILDS: &str = "coracle.io/builds";
/// The key of the ticket in a build's Secret.
pub(crate) const TICKET: &str = "ticket";
/// The key of the file with the registry's pass.
pub(super) const LOGIN: &str = "config.json";
/// The Secret, in the pod.
pub(super) const SECRETS: &str = "/coracle";
/// The folder that the containers share.
pub(super) const WORK: &str = "/work";
/// The NetworkPolicy of the builds' namespace.
pub(crate) const NETWORK_POLICY: &str = "coracle-builds";
/// Where clouds tell a machine what it is and give it credentials: link-local (nearly all of them), Alibaba's, Azure's.
const METADATA_4: [&str; 3] = ["169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32"];
/// The same by IPv6: link-local, and Amazon's.
const METADATA_6: [&str; 2] = ["fe80::/10", "fd00:ec2::254/128"];
/// Kubernetes' own cache of names on each node, which has a link-local address.
const NODE_DNS: &str = "169.254.20.10/32";
/// Memory for fetching the source: it is unpacked as it comes.
const FETCH_MEMORY: &str = "256Mi";
/// A finished Job that nobody removed goes by itself, where the cluster does that (from 1.21 on).
const KEPT_SECONDS: u32 = 3600;
/// Between SIGTERM and SIGKILL: nothing of a build that is ended is of worth.
const GRACE_SECONDS: u32 = 2;
/// The clock of the control plane ends a build; the cluster's does where there is none.
const LATER: Duration = Duration::from_secs(20);
/// Letters of an id that are part of names.
const ID_LETTERS: usize = 48;
/// The least that the scheduler keeps free for a build.
const LEAST_CPU: &str = "100m";
const LEAST_MEMORY: u64 = 128 << 20;

/// What a container of a build's pod does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Fetches the source.
    Source,
    /// Builds; BuildKit pushes too.
    Build,
    /// Pushes.
    Push,
}

impl Stage {
    /// In the order in which they run.
    pub(crate) const fn of(tool: BuildTool) -> &'static [Self] {
        match tool {
            BuildTool::Buildkit => &[Self::Source, Self::Build],
            BuildTool::Buildah => &[Self::Source, Self::Build, Self::Push],
        }
    }

    /// The container's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Build => "build",
            Self::Push => "push",
        }
    }
}

/// An id as a label's value and part of a name.
pub(crate) fn id(build: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !build.is_empty() && build.len() <= ID_LETTERS && build.chars().all(plain) {
        return build.to_owned();
    }
    let mut digest = hex::encode(Sha256::digest(build));
    digest.truncate(32);
    digest
}

/// The name of a build's Job and Secret.
pub(crate) fn name(build: &str) -> String {
    format!("build-{}", id(build))
}

fn labels(config: &KubernetesConfig) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        (MANAGED_BY, MANAGER.to_owned()),
        (PLATFORM, config.platform.clone()),
    ])
}

fn build_labels(
    config: &KubernetesConfig,
    request: &BuildRequest,
) -> BTreeMap<&'static str, String> {
    let mut labels = labels(config);
    labels.insert(BUILD, id(&request.id));
    labels
}

/// The builds' namespace.
pub(crate) fn namespace(config: &KubernetesConfig, build: &BuildConfig) -> Value {
    let mut labels = labels(config);
    labels.insert(BUILDS, "true".to_owned());
    labels.insert(
        "pod-security.kubernetes.io/enforce",
        "privileged".to_owned(),
    );
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": build.namespace, "labels": labels },
    })
}

/// Nobody reaches a build. A build reaches everything but what a cloud tells its machines of themselves, and the projects' pods
/// where addresses do not count for pods: names, the platform and other registries inside the cluster are in namespaces
/// that are not the platform's projects.
pub(crate) fn network_policy(config: &KubernetesConfig) -> Value {
    let elsewhere = json!({
        "namespaceSelector": { "matchExpressions": [{ "key": PLATFORM, "operator": "DoesNotExist" }] },
    });
    let names = |protocol: &str| json!({ "protocol": protocol, "port": 53 });
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": NETWORK_POLICY, "labels": labels(config) },
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [
                { "to": [
                    { "ipBlock": { "cidr": "0.0.0.0/0", "except": METADATA_4 } },
                    { "ipBlock": { "cidr": "::/0", "except": METADATA_6 } },
                    elsewhere,
                ] },
                {
                    "to": [{ "ipBlock": { "cidr": NODE_DNS } }],
                    "ports": [names("UDP"), names("TCP")],
                },
            ],
        },
    })
}

/// What a build must know and nobody else.
pub(crate) fn secret(
    config: &KubernetesConfig,
    build: &BuildConfig,
    request: &BuildRequest,
    ticket: &Secret,
) -> Value {
    let registries = (
        tool::registries_file(build.tool),
        tool::registries(config, build),
    );
    let data = BTreeMap::from([
        (TICKET, ticket.expose().to_owned()),
        (LOGIN, login(config, build, request)),
        registries,
    ]);
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name(&request.id), "labels": build_labels(config, request) },
        "type": "Opaque",
        "stringData": data,
    })
}

/// The file in which container tools look for passwords, for every name of Coracle's registry.
fn login(config: &KubernetesConfig, build: &BuildConfig, request: &BuildRequest) -> String {
    let Some(login) = &request.credentials else {
        return json!({ "auths": {} }).to_string();
    };
    let both = format!("{}:{}", login.user, login.password.expose());
    let auth = base64::engine::general_purpose::STANDARD.encode(both);
    let mut auths = BTreeMap::new();
    for host in tool::own_names(config, build)
        .into_iter()
        .chain([build.registry.as_str()])
    {
        auths.insert(host, json!({ "auth": auth }));
    }
    json!({ "auths": auths }).to_string()
}

/// The Job of a build.
pub(crate) fn job(config: &KubernetesConfig, build: &BuildConfig, request: &BuildRequest) -> Value {
    let labels = build_labels(config, request);
    let stages = Stage::of(build.tool);
    let containers: Vec<Value> = stages
        .iter()
        .map(|stage| container(config, build, request, *stage))
        .collect();
    let (last, first) = containers.split_last().unwrap_or((&Value::Null, &[]));
    let mut annotations = BTreeMap::from([(
        "cluster-autoscaler.kubernetes.io/safe-to-evict".to_owned(),
        "false".to_owned(),
    )]);
    for stage in stages.iter().filter(|stage| **stage != Stage::Source) {
        // Clusters before 1.30 know no field for it.
        let key = format!(
            "container.apparmor.security.beta.kubernetes.io/{}",
            stage.name()
        );
        annotations.insert(key, "unconfined".to_owned());
    }
    let mut spec = json!({
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": build.user,
            "runAsGroup": build.user,
            "fsGroup": build.user,
        },
        "initContainers": first,
        "containers": [last],
        "volumes": [
            { "name": "work", "emptyDir": { "sizeLimit": build.storage.0.to_string() } },
            { "name": "secret", "secret": { "secretName": name(&request.id), "defaultMode": 0o440 } },
        ],
    });
    if !build.pull_secrets.is_empty() {
        spec["imagePullSecrets"] = build
            .pull_secrets
            .iter()
            .map(|name| json!({ "name": name }))
            .collect();
    }
    let time = request.limits.time.saturating_add(LATER);
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name(&request.id),
            "labels": labels,
            "annotations": { IMAGE: request.push.as_str() },
        },
        "spec": {
            "backoffLimit": 0,
            // A pod that is evicted or whose node goes is no failure. Clusters before 1.26 leave both fields out, and none
            // counts a pod so that somebody deleted: then the Job fails, and another is made.
            "podFailurePolicy": { "rules": [{
                "action": "Ignore",
                "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }],
            }] },
            "podReplacementPolicy": "Failed",
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": time.as_secs(),
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {
                "metadata": { "labels": labels, "annotations": annotations },
                "spec": spec,
            },
        },
    })
}

fn container(
    config: &KubernetesConfig,
    build: &BuildConfig,
    request: &BuildRequest,
    stage: Stage,
) -> Value {
    let mount = |key: &str| {
        json!({
            "name": "secret", "mountPath": format!("{SECRETS}/{key}"), "subPath": key, "readOnly": true,
        })
    };
    let mut mounts = vec![json!({ "name": "work", "mountPath": WORK })];
    let mut container = json!({ "name": stage.name(), "imagePullPolicy": "IfNotPresent" });
    match stage {
        Stage::Source => {
            mounts.push(mount(TICKET));
            container["image"] = json!(build.source_image);
            container["args"] = json!([
                "fetch-source",
                "--from",
                build.control,
                "--ticket-file",
                format!("{SECRETS}/{TICKET}"),
                "--to",
                format!("{WORK}/source"),
            ]);
            container["securityContext"] = json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
                "seccompProfile": { "type": "RuntimeDefault" },
            });
            container["resources"] = json!({
                "limits": { "memory": FETCH_MEMORY },
                "requests": { "memory": "32Mi", "cpu": LEAST_CPU },
            });
        }
        Stage::Build | Stage::Push => {
            mounts.push(mount(LOGIN));
            let registries = tool::registries_file(build.tool);
            mounts.push(mount(registries));
            if build.tool == BuildTool::Buildkit {
                container["env"] = json!([
                    { "name": "DOCKER_CONFIG", "value": SECRETS },
                    { "name": "BUILDKITD_FLAGS", "value": format!(
                        "--oci-worker-no-process-sandbox --root={WORK}/buildkit --config={SECRETS}/{registries}"
                    ) },
                ]);
            }
            let command = tool::command(config, build, request, stage);
            container["image"] = json!(build.image);
            // `$(NAME)` is replaced by the kubelet; `$$` is its way to write a dollar.
            let command: Vec<String> = command.iter().map(|w| w.replace('$', "$$")).collect();
            container["command"] = command.iter().take(1).map(|word| json!(word)).collect();
            container["args"] = command.iter().skip(1).map(|word| json!(word)).collect();
            container["securityContext"] = security(build.tool);
            container["resources"] = resources(config, build, request);
        }
    }
    container["volumeMounts"] = json!(mounts);
    container
}

fn security(tool: BuildTool) -> Value {
    let mut security = json!({
        "allowPrivilegeEscalation": true,
        "privileged": false,
        "seccompProfile": { "type": "Unconfined" },
        "appArmorProfile": { "type": "Unconfined" },
    });
    // Buildah's images give the two programs that write maps a capability each. BuildKit's run as root for it, and need
    // what a container's root usually has.
    if tool == BuildTool::Buildah {
        security["capabilities"] = json!({ "drop": ["ALL"], "add": ["SETGID", "SETUID"] });
    }
    security
}

fn resources(config: &KubernetesConfig, build: &BuildConfig, request: &BuildRequest) -> Value {
    let memory = request.limits.memory_bytes;
    let part = u64::from(config.requests.memory_percent.min(100));
    let wished = (memory / 100).saturating_mul(part);
    let mut limits = json!({
        "memory": memory.to_string(),
        "ephemeral-storage": build.storage.0.to_string(),
    });
    if let Some(cpu) = build.cpu {
        limits["cpu"] = json!(format!("{}m", cpu.milli()));
    }
    json!({
        "limits": limits,
        // Without a request of its own a limit counts as one, and not every node tells how much disk it has.
        "requests": {
            "memory": wished.max(LEAST_MEMORY).min(memory).to_string(),
            "cpu": build.cpu.map_or_else(
                || LEAST_CPU.to_owned(),
                |cpu| format!("{}m", (cpu.milli() / 4).max(1)),
            ),
            "ephemeral-storage": "0",
        },
    })
}
