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
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use coracle_engine::build::BuildRequest;
use coracle_model::env::Secret;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::config::{BuildConfig, BuildTool, Transport};
use crate::config::KubernetesConfig;
use crate::facts::{MANAGED_BY, MANAGER, PLATFORM};

/// The build's id, cut to a label's length.
pub(crate) const BUILD: &str = "coracle.io/build";
/// Where the image goes, for people with `kubectl`.
const IMAGE: &str = "coracle.io/image";
/// On the builds' namespace.
const BUILDS: &str = "coracle.io/builds";
/// The key of the ticket in a build's Secret.
pub(crate) const TICKET: &str = "ticket";
const LOGIN: &str = "config.json";
const BUILDAH_REGISTRIES: &str = "registries.conf";
const BUILDKIT_REGISTRIES: &str = "buildkitd.toml";
/// The Secret, in the pod.
const SECRETS: &str = "/coracle";
/// The folder that the containers share.
const WORK: &str = "/work";
/// What the image is called between Buildah's two steps.
const BUILT: &str = "localhost/coracle-build:latest";
/// The NetworkPolicy of the builds' namespace.
pub(crate) const NETWORK_POLICY: &str = "coracle-builds";
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

/// Nobody reaches a build.
pub(crate) fn network_policy(config: &KubernetesConfig) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": NETWORK_POLICY, "labels": labels(config) },
        "spec": { "podSelector": {}, "policyTypes": ["Ingress"] },
    })
}

/// What a build must know and nobody else.
pub(crate) fn secret(
    config: &KubernetesConfig,
    build: &BuildConfig,
    request: &BuildRequest,
    ticket: &Secret,
) -> Value {
    let registries = match build.tool {
        BuildTool::Buildkit => (BUILDKIT_REGISTRIES, buildkit_registries(config, build)),
        BuildTool::Buildah => (BUILDAH_REGISTRIES, buildah_registries(config, build)),
    };
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

/// The names under which Dockerfiles may know Coracle's own registry.
fn own_names<'a>(config: &'a KubernetesConfig, build: &BuildConfig) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    if let Some(registry) = &config.registry {
        for name in [registry.own.as_str(), registry.nodes.as_str()] {
            if name != build.registry && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The file in which container tools look for passwords, for every name of Coracle's registry.
fn login(config: &KubernetesConfig, build: &BuildConfig, request: &BuildRequest) -> String {
    let Some(pass) = &request.pass else {
        return json!({ "auths": {} }).to_string();
    };
    let both = format!("{}:{}", pass.user, pass.password.expose());
    let auth = base64::engine::general_purpose::STANDARD.encode(both);
    let mut auths = BTreeMap::new();
    for host in own_names(config, build)
        .into_iter()
        .chain([build.registry.as_str()])
    {
        auths.insert(host, json!({ "auth": auth }));
    }
    json!({ "auths": auths }).to_string()
}

/// A text in TOML: its strings with quotes are JSON's, but for what no name of a registry has in it.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn buildah_registries(config: &KubernetesConfig, build: &BuildConfig) -> String {
    let insecure = build.transport == Transport::Plain;
    let registry = quoted(&build.registry);
    let mut text = String::from("unqualified-search-registries = [\"docker.io\"]\n");
    let own = own_names(config, build);
    for prefix in own.into_iter().chain([build.registry.as_str()]) {
        text.push_str(&format!(
            "[[registry]]\nprefix = {}\nlocation = {registry}\ninsecure = {insecure}\n",
            quoted(prefix)
        ));
    }
    if let Some(base) = &build.base_images {
        text.push_str(&format!(
            "[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = {}\ninsecure = {insecure}\n",
            quoted(&format!("{}/{base}", build.registry))
        ));
    }
    text
}

fn buildkit_registries(config: &KubernetesConfig, build: &BuildConfig) -> String {
    let registry = quoted(&build.registry);
    let mut text = match build.transport {
        Transport::Plain => format!("[registry.{registry}]\nhttp = true\n"),
        Transport::Tls => String::new(),
    };
    for name in own_names(config, build) {
        let name = quoted(name);
        text.push_str(&format!("[registry.{name}]\nmirrors = [{registry}]\n"));
    }
    if let Some(base) = &build.base_images {
        let mirror = quoted(&format!("{}/{base}", build.registry));
        text.push_str(&format!("[registry.\"docker.io\"]\nmirrors = [{mirror}]\n"));
    }
    text
}

/// Where a pod pushes what `push` names: Coracle's own registry has another name there.
fn target(config: &KubernetesConfig, build: &BuildConfig, push: &str) -> (String, Transport) {
    let own = config.registry.as_ref().and_then(|names| {
        let rest = push.strip_prefix(names.own.as_str())?;
        rest.starts_with('/')
            .then(|| format!("{}{rest}", build.registry))
    });
    match own {
        Some(own) => (own, build.transport),
        None if push.starts_with(&format!("{}/", build.registry)) => {
            (push.to_owned(), build.transport)
        }
        None => (push.to_owned(), Transport::Tls),
    }
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
            let command = match build.tool {
                BuildTool::Buildkit => {
                    mounts.push(mount(BUILDKIT_REGISTRIES));
                    container["env"] = json!([
                        { "name": "DOCKER_CONFIG", "value": SECRETS },
                        { "name": "BUILDKITD_FLAGS", "value": format!(
                            "--oci-worker-no-process-sandbox --root={WORK}/buildkit --config={SECRETS}/{BUILDKIT_REGISTRIES}"
                        ) },
                    ]);
                    buildkit(config, build, request)
                }
                BuildTool::Buildah => {
                    mounts.push(mount(BUILDAH_REGISTRIES));
                    match stage {
                        Stage::Push => buildah_push(config, build, request),
                        _ => buildah_build(config, request),
                    }
                }
            };
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

/// What the image is marked with, as the Docker engine does.
fn image_labels(config: &KubernetesConfig, request: &BuildRequest) -> [String; 2] {
    [
        format!("io.coracle.platform={}", config.platform),
        format!("io.coracle.build={}", request.id),
    ]
}

fn buildkit(config: &KubernetesConfig, build: &BuildConfig, request: &BuildRequest) -> Vec<String> {
    let dockerfile = Path::new(WORK).join("source").join(&request.dockerfile);
    let folder = dockerfile.parent().unwrap_or(Path::new(WORK));
    let file = dockerfile.file_name().unwrap_or_default().to_string_lossy();
    let (target, transport) = target(config, build, request.push.as_str());
    let insecure = match transport {
        Transport::Plain => ",registry.insecure=true",
        Transport::Tls => "",
    };
    let mut words = vec![
        "buildctl-daemonless.sh".to_owned(),
        "build".to_owned(),
        "--progress=plain".to_owned(),
        "--frontend=dockerfile.v0".to_owned(),
        format!("--local=context={WORK}/source"),
        format!("--local=dockerfile={}", folder.display()),
        format!("--opt=filename={file}"),
    ];
    for label in image_labels(config, request) {
        words.push(format!("--opt=label:{label}"));
    }
    for (name, value) in &request.arguments {
        words.push(format!("--opt=build-arg:{name}={value}"));
    }
    words.push(format!(
        "--output=type=image,name={target},push=true{insecure}"
    ));
    words
}

/// What every call of Buildah begins with.
fn buildah(command: &str) -> Vec<String> {
    [
        "buildah",
        "--root",
        &format!("{WORK}/storage"),
        "--runroot",
        &format!("{WORK}/run"),
        "--storage-driver",
        "vfs",
        "--registries-conf",
        &format!("{SECRETS}/{BUILDAH_REGISTRIES}"),
        command,
        "--authfile",
        &format!("{SECRETS}/{LOGIN}"),
    ]
    .map(str::to_owned)
    .into()
}

fn buildah_build(config: &KubernetesConfig, request: &BuildRequest) -> Vec<String> {
    let mut words = buildah("build");
    let source = Path::new(WORK).join("source");
    words.extend([
        "--isolation=chroot".to_owned(),
        // Docker's own form has health checks and shells, which OCI's leaves out.
        "--format=docker".to_owned(),
        // Each layer would be a whole copy of the image.
        "--layers=false".to_owned(),
        format!("--file={}", source.join(&request.dockerfile).display()),
        format!("--tag={BUILT}"),
    ]);
    for label in image_labels(config, request) {
        words.push(format!("--label={label}"));
    }
    for (name, value) in &request.arguments {
        words.push(format!("--build-arg={name}={value}"));
    }
    words.push(source.display().to_string());
    words
}

fn buildah_push(
    config: &KubernetesConfig,
    build: &BuildConfig,
    request: &BuildRequest,
) -> Vec<String> {
    let (target, transport) = target(config, build, request.push.as_str());
    let mut words = buildah("push");
    if transport == Transport::Plain {
        words.push("--tls-verify=false".to_owned());
    }
    words.extend([BUILT.to_owned(), format!("docker://{target}")]);
    words
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use coracle_engine::ContextDesk;
    use coracle_engine::build::{BuildLimits, RegistryCredentials};
    use coracle_model::name::ImageRef;
    use coracle_model::quantity::Cpu;
    use coracle_task::{CancellationToken, Supervisor};

    use super::*;
    use crate::config::RegistryNames;

    fn config() -> KubernetesConfig {
        KubernetesConfig {
            registry: Some(RegistryNames {
                own: "127.0.0.1:7070".to_owned(),
                nodes: "127.0.0.1:30070".to_owned(),
            }),
            ..KubernetesConfig::new("p1", Supervisor::new("test"))
        }
    }

    fn build(tool: BuildTool) -> BuildConfig {
        BuildConfig {
            base_images: Some("base".to_owned()),
            cpu: Some(Cpu::from_milli(2000)),
            ..BuildConfig::new(
                tool,
                "coracle:1",
                "http://coracle-control.coracle-system:7070",
                "coracle-registry.coracle-system:5000",
                ContextDesk::default(),
            )
        }
    }

    fn request() -> BuildRequest {
        BuildRequest {
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            context: PathBuf::from("/data/work/0123"),
            dockerfile: PathBuf::from("docker/File"),
            push: ImageRef::new("127.0.0.1:7070/shop/web:b3").unwrap(),
            credentials: None,
            pass: Some(RegistryCredentials {
                user: "coracle-build".to_owned(),
                password: Secret::new("hush"),
            }),
            arguments: vec![("WORD".to_owned(), "$(HOME) a".to_owned())],
            limits: BuildLimits {
                time: Duration::from_secs(600),
                memory_bytes: 1 << 30,
            },
            cancel: CancellationToken::new(),
        }
    }

    fn words(container: &Value) -> String {
        let all =
            ["command", "args"].map(|key| container[key].as_array().cloned().unwrap_or_default());
        let words: Vec<String> = all
            .concat()
            .iter()
            .map(|word| word.as_str().unwrap_or_default().to_owned())
            .collect();
        words.join(" ")
    }

    #[test]
    fn buildah_builds_then_pushes_to_the_name_that_pods_know() {
        let job = job(&config(), &build(BuildTool::Buildah), &request());
        let spec = &job["spec"]["template"]["spec"];
        let (first, last) = (&spec["initContainers"], &spec["containers"][0]);
        assert_eq!(first[0]["name"], "source");
        assert_eq!(
            words(&first[0]),
            "fetch-source --from http://coracle-control.coracle-system:7070 --ticket-file /coracle/ticket --to /work/source"
        );
        let text = words(&first[1]);
        assert!(text.starts_with("buildah --root /work/storage "), "{text}");
        assert!(text.contains(" --file=/work/source/docker/File "), "{text}");
        assert!(text.contains(" --build-arg=WORD=$$(HOME) a "), "{text}");
        assert!(text.ends_with(" /work/source"), "{text}");
        let text = words(last);
        assert!(
            text.ends_with(
                "--tls-verify=false localhost/coracle-build:latest docker://coracle-registry.coracle-system:5000/shop/web:b3"
            ),
            "{text}"
        );
        serde_json::from_value::<k8s_openapi::api::batch::v1::Job>(job).unwrap();
    }

    #[test]
    fn buildkit_builds_and_pushes_in_one() {
        let job = job(&config(), &build(BuildTool::Buildkit), &request());
        let spec = &job["spec"]["template"]["spec"];
        assert_eq!(spec["initContainers"].as_array().unwrap().len(), 1);
        let text = words(&spec["containers"][0]);
        assert!(text.starts_with("buildctl-daemonless.sh build "), "{text}");
        assert!(
            text.contains("--local=dockerfile=/work/source/docker --opt=filename=File "),
            "{text}"
        );
        assert!(
            text.ends_with(
                "--output=type=image,name=coracle-registry.coracle-system:5000/shop/web:b3,push=true,registry.insecure=true"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_build_is_bounded_and_may_do_little() {
        for tool in [BuildTool::Buildkit, BuildTool::Buildah] {
            let job = job(&config(), &build(tool), &request());
            assert_eq!(job["spec"]["backoffLimit"], 0);
            assert_eq!(job["spec"]["activeDeadlineSeconds"], 620);
            let spec = &job["spec"]["template"]["spec"];
            assert_eq!(spec["automountServiceAccountToken"], false);
            assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
            let last = &spec["containers"][0];
            assert_eq!(last["securityContext"]["privileged"], false);
            let limits = &last["resources"]["limits"];
            assert_eq!(limits["memory"], "1073741824");
            assert_eq!(limits["cpu"], "2000m");
            assert_eq!(
                limits["ephemeral-storage"],
                BuildConfig::DEFAULT_STORAGE.0.to_string()
            );
            let source = &spec["initContainers"][0];
            assert_eq!(source["securityContext"]["allowPrivilegeEscalation"], false);
            for volume in spec["volumes"].as_array().unwrap() {
                assert!(volume.get("hostPath").is_none());
            }
        }
    }

    #[test]
    fn what_is_secret_stands_in_the_secret_and_each_container_sees_its_part() {
        let (config, build, request) = (config(), build(BuildTool::Buildah), request());
        let ticket = Secret::new("one-use");
        let secret = secret(&config, &build, &request, &ticket);
        assert_eq!(secret["stringData"][TICKET], "one-use");
        let login: Value =
            serde_json::from_str(secret["stringData"][LOGIN].as_str().unwrap()).unwrap();
        let hosts: Vec<&String> = login["auths"].as_object().unwrap().keys().collect();
        assert_eq!(
            hosts,
            [
                "127.0.0.1:30070",
                "127.0.0.1:7070",
                "coracle-registry.coracle-system:5000"
            ]
        );
        let job = job(&config, &build, &request);
        let text = job.to_string();
        assert!(
            !text.contains("hush") && !text.contains("one-use"),
            "{text}"
        );
        let spec = &job["spec"]["template"]["spec"];
        assert!(!spec["initContainers"][0].to_string().contains(LOGIN));
        for container in [&spec["initContainers"][1], &spec["containers"][0]] {
            assert!(!container.to_string().contains("\"subPath\":\"ticket\""));
        }
    }

    #[test]
    fn registries_are_told_in_the_tools_own_words() {
        let config = config();
        let text = buildah_registries(&config, &build(BuildTool::Buildah));
        assert!(text.contains("prefix = \"127.0.0.1:7070\"\nlocation = \"coracle-registry.coracle-system:5000\"\ninsecure = true\n"), "{text}");
        assert!(
            text.contains(
                "[[registry.mirror]]\nlocation = \"coracle-registry.coracle-system:5000/base\"\n"
            ),
            "{text}"
        );
        let text = buildkit_registries(&config, &build(BuildTool::Buildkit));
        assert!(
            text.contains("[registry.\"coracle-registry.coracle-system:5000\"]\nhttp = true\n"),
            "{text}"
        );
        assert!(text.contains("[registry.\"docker.io\"]\nmirrors = [\"coracle-registry.coracle-system:5000/base\"]\n"), "{text}");
    }

    #[test]
    fn what_goes_elsewhere_goes_there_over_tls() {
        let (config, build) = (config(), build(BuildTool::Buildah));
        assert_eq!(
            target(&config, &build, "ghcr.io/a/b:1"),
            ("ghcr.io/a/b:1".to_owned(), Transport::Tls)
        );
        // Another host that begins with the same letters.
        let (name, _) = target(&config, &build, "127.0.0.1:70701/a/b:1");
        assert_eq!(name, "127.0.0.1:70701/a/b:1");
    }

    #[test]
    fn any_id_is_a_name() {
        assert_eq!(name("abc1"), "build-abc1");
        for odd in ["", "A/b", &"x".repeat(200)] {
            let name = name(odd);
            assert!(name.len() <= 63 && name.starts_with("build-"), "{name}");
        }
        assert_ne!(name("A"), name("B"));
    }
}
