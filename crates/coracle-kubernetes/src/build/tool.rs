//! What the build tools are told. Pure: their command lines, and which registries there are.
//!
//! Theory of operation: a container knows Coracle's own registry by another name than the store and the nodes do, and in plain
//! HTTP. The tools are told so in files of their own, so that a Dockerfile may name an image as `coracle images` does. Command
//! lines are words, never a shell's.

use std::path::Path;

use coracle_engine::build::BuildRequest;
use serde_json::Value;

use super::config::{BuildConfig, BuildTool, Transport};
use super::object::{LOGIN, SECRETS, Stage, WORK};
use crate::config::KubernetesConfig;

/// What the image is called between Buildah's two steps.
const BUILT: &str = "localhost/coracle-build:latest";

/// The name of the file in which a tool reads of registries.
pub(super) const fn registries_file(tool: BuildTool) -> &'static str {
    match tool {
        BuildTool::Buildkit => "buildkitd.toml",
        BuildTool::Buildah => "registries.conf",
    }
}

/// What stands in it.
pub(super) fn registries(config: &KubernetesConfig, build: &BuildConfig) -> String {
    match build.tool {
        BuildTool::Buildkit => buildkit_registries(config, build),
        BuildTool::Buildah => buildah_registries(config, build),
    }
}

/// The command of a tool's container.
pub(super) fn command(
    config: &KubernetesConfig,
    build: &BuildConfig,
    request: &BuildRequest,
    stage: Stage,
) -> Vec<String> {
    match (build.tool, stage) {
        (BuildTool::Buildkit, _) => buildkit(config, build, request),
        (BuildTool::Buildah, Stage::Push) => buildah_push(config, build, request),
        (BuildTool::Buildah, _) => buildah_build(config, request),
    }
}

/// The names under which Dockerfiles may know Coracle's own registry.
pub(super) fn own_names<'a>(config: &'a KubernetesConfig, build: &BuildConfig) -> Vec<&'a str> {
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

/// A text in TOML: its strings with quotes are JSON's, but for what no name of a registry has in it.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

pub(super) fn buildah_registries(config: &KubernetesConfig, build: &BuildConfig) -> String {
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

pub(super) fn buildkit_registries(config: &KubernetesConfig, build: &BuildConfig) -> String {
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
pub(super) fn target(
    config: &KubernetesConfig,
    build: &BuildConfig,
    push: &str,
) -> (String, Transport) {
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
        &format!("{SECRETS}/{}", registries_file(BuildTool::Buildah)),
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
