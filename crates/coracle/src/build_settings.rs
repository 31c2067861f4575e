//! How images are built: the bounds of a build, and where builds run on a cluster.
//!
//! Theory of operation: Docker builds by itself. A cluster has to be told three things that nobody can guess: an image of
//! this program (it fetches the source), and how pods reach the control plane and the registry. Without them
//! images can be deployed, and nothing is built.

use coracle_builder::git::Reach;
use coracle_control::settings::Limits;
use coracle_engine::ContextDesk;
use coracle_kubernetes::{BuildConfig, BuildTool, Transport};
use coracle_model::quantity::{ByteSize, Cpu, Span};
use serde::{Deserialize, Serialize};

use crate::env_vars;
use crate::error::{CliError, Result};

/// The least memory that a build can do with.
const LEAST_MEMORY: ByteSize = ByteSize::mib(64);

/// Flags of builds.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Builds")]
pub(crate) struct BuildArgs {
    /// Memory of one build; with Docker, of each of its commands [default: 4Gi]
    #[arg(long, value_name = "SIZE", env = env_vars::BUILD_MEMORY, hide_env_values = true)]
    pub(crate) build_memory: Option<ByteSize>,
    /// Time of one build, such as 45m [default: 30m]
    #[arg(long, value_name = "TIME", env = env_vars::BUILD_TIME, hide_env_values = true)]
    pub(crate) build_time: Option<Span>,
    /// On a cluster: an image of Coracle itself, which fetches sources for builds. With it and the next two, images are
    /// built on the cluster [default: none]
    #[arg(long, value_name = "IMAGE", env = env_vars::BUILD_SOURCE_IMAGE, hide_env_values = true)]
    pub(crate) build_source_image: Option<String>,
    /// On a cluster: the control planes as pods reach them, such as http://coracle-control.coracle-system:7070
    #[arg(long, value_name = "URL", env = env_vars::BUILD_CONTROL, hide_env_values = true, value_parser = control_url)]
    pub(crate) build_control: Option<String>,
    /// On a cluster: the registry as pods reach it, HOST:PORT in plain HTTP, or https://HOST
    #[arg(long, value_name = "HOST:PORT", env = env_vars::BUILD_REGISTRY, hide_env_values = true, value_parser = registry)]
    pub(crate) build_registry: Option<String>,
    /// On a cluster: the program that builds [default: buildkit]
    #[arg(long, value_enum, env = env_vars::BUILD_TOOL, hide_env_values = true)]
    pub(crate) build_tool: Option<ToolKind>,
    /// On a cluster: its image, as nodes pull it [default: the tool's own, from a public registry]
    #[arg(long, value_name = "IMAGE", env = env_vars::BUILD_IMAGE, hide_env_values = true)]
    pub(crate) build_image: Option<String>,
    /// On a cluster: the namespace of builds, no project's [default: builds-coracle]
    #[arg(long, value_name = "NAMESPACE", env = env_vars::BUILD_NAMESPACE, hide_env_values = true)]
    pub(crate) build_namespace: Option<String>,
    /// On a cluster: where in Coracle's own registry images of docker.io are looked for first, such as base [default:
    /// nowhere]
    #[arg(long, value_name = "PATH", env = env_vars::BUILD_BASE_IMAGES, hide_env_values = true, value_parser = base_images)]
    pub(crate) build_base_images: Option<String>,
    /// On a cluster: the user that builds run as, which the tool's image must know [default: 1000]
    #[arg(long, value_name = "NUMBER", env = env_vars::BUILD_USER, hide_env_values = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) build_user: Option<u32>,
    /// On a cluster: processors of one build [default: what is free]
    #[arg(long, value_name = "CPU", env = env_vars::BUILD_CPU, hide_env_values = true)]
    pub(crate) build_cpu: Option<Cpu>,
    /// On a cluster: disk of one build [default: 20Gi]
    #[arg(long, value_name = "SIZE", env = env_vars::BUILD_STORAGE, hide_env_values = true)]
    pub(crate) build_storage: Option<ByteSize>,
    /// On a cluster: Secrets in the namespace of builds with which nodes pull the two images [default: none]
    #[arg(long, value_name = "SECRET,…", value_delimiter = ',', env = env_vars::BUILD_PULL_SECRETS, hide_env_values = true)]
    pub(crate) build_pull_secrets: Vec<String>,
    /// Which servers Git repositories may be fetched from [default: others]
    #[arg(long, value_enum, env = env_vars::GIT_REACH, hide_env_values = true)]
    pub(crate) git_reach: Option<GitReach>,
}

/// Where repositories are fetched from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GitReach {
    /// Anywhere but this machine itself, its link, and clouds' metadata services
    #[default]
    Others,
    /// Anywhere
    Everything,
}

/// A program that builds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ToolKind {
    /// BuildKit without root
    #[default]
    Buildkit,
    /// Buildah without root, for clusters where BuildKit's image cannot be had
    Buildah,
}

/// How images are built, as it is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BuildSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<ByteSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<String>,
    tool: ToolKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base_images: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<Cpu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<ByteSize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pull_secrets: Vec<String>,
    git_reach: GitReach,
}

impl BuildSettings {
    /// What `args` say, and where they say nothing what was before.
    pub(crate) fn choose(args: &BuildArgs, before: Self) -> Result<Self> {
        let pull_secrets = match args.build_pull_secrets.is_empty() {
            true => before.pull_secrets,
            false => args.build_pull_secrets.clone(),
        };
        let chosen = Self {
            memory: args.build_memory.or(before.memory),
            time: args.build_time.or(before.time),
            source_image: args.build_source_image.clone().or(before.source_image),
            control: args.build_control.clone().or(before.control),
            registry: args.build_registry.clone().or(before.registry),
            tool: args.build_tool.unwrap_or(before.tool),
            image: args.build_image.clone().or(before.image),
            namespace: args.build_namespace.clone().or(before.namespace),
            base_images: args.build_base_images.clone().or(before.base_images),
            user: args.build_user.or(before.user),
            cpu: args.build_cpu.or(before.cpu),
            storage: args.build_storage.or(before.storage),
            pull_secrets,
            git_reach: args.git_reach.unwrap_or(before.git_reach),
        };
        if let Some(memory) = chosen.memory.filter(|memory| *memory < LEAST_MEMORY) {
            return Err(CliError::usage(format!(
                "--build-memory {memory}: a build needs at least {LEAST_MEMORY}"
            )));
        }
        if chosen.time.is_some_and(|time| time.0.is_zero()) {
            return Err(CliError::usage("--build-time: a build needs some time"));
        }
        let needed = [
            ("--build-source-image", chosen.source_image.is_some()),
            ("--build-control", chosen.control.is_some()),
            ("--build-registry", chosen.registry.is_some()),
        ];
        let missing: Vec<&str> = needed
            .iter()
            .filter(|(_, given)| !given)
            .map(|(flag, _)| *flag)
            .collect();
        if (1..needed.len()).contains(&missing.len()) {
            return Err(CliError::usage(format!(
                "builds on a cluster need {} too",
                missing.join(" and ")
            )));
        }
        Ok(chosen)
    }

    /// The bounds of uploads and builds.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        if let Some(memory) = self.memory {
            limits.build_memory_bytes = memory.0;
        }
        if let Some(time) = self.time {
            limits.build_time = time.0;
        }
        limits.git_reach = match self.git_reach {
            GitReach::Others => Reach::Others,
            GitReach::Everything => Reach::Everything,
        };
        limits
    }

    /// Builds on a cluster; nothing where it was not told enough for them.
    pub(crate) fn on_cluster(&self, desk: &ContextDesk) -> Option<BuildConfig> {
        let tool = match self.tool {
            ToolKind::Buildkit => BuildTool::Buildkit,
            ToolKind::Buildah => BuildTool::Buildah,
        };
        let (host, transport) = match self.registry.as_deref()?.strip_prefix("https://") {
            Some(host) => (host, Transport::Tls),
            None => (self.registry.as_deref()?, Transport::Plain),
        };
        let (image, control) = (self.source_image.as_deref()?, self.control.as_deref()?);
        let mut config = BuildConfig::new(tool, image, control, host, desk.clone());
        config.transport = transport;
        if let Some(image) = &self.image {
            config.image.clone_from(image);
        }
        if let Some(namespace) = &self.namespace {
            config.namespace.clone_from(namespace);
        }
        if let Some(user) = self.user {
            config.user = user;
        }
        if let Some(storage) = self.storage {
            config.storage = storage;
        }
        config.cpu = self.cpu;
        config.base_images.clone_from(&self.base_images);
        config.pull_secrets.clone_from(&self.pull_secrets);
        Some(config)
    }
}

fn control_url(text: &str) -> std::result::Result<String, String> {
    let hint = "use http://HOST:PORT, such as http://coracle-control.coracle-system:7070";
    let rest = text
        .strip_prefix("http://")
        .or(text.strip_prefix("https://"));
    match rest.map(|rest| rest.trim_end_matches('/')) {
        Some(rest) if !rest.is_empty() && !rest.contains(['/', ' ', '@', '?', '#']) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(hint.to_owned()),
    }
}

fn registry(text: &str) -> std::result::Result<String, String> {
    let host = text.strip_prefix("https://").unwrap_or(text);
    let hint = "use HOST:PORT, such as coracle-registry.coracle-system:5000, or https://HOST";
    // Without a dot or a port the first part of an image's name is no registry.
    let named = host.contains(['.', ':']) && !host.contains('/');
    match coracle_model::name::ImageRef::new(format!("{host}/a:1")) {
        Ok(_) if named => Ok(text.to_owned()),
        _ => Err(hint.to_owned()),
    }
}

fn base_images(text: &str) -> std::result::Result<String, String> {
    let part = |part: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
        !part.is_empty()
            && part.bytes().all(plain)
            && part
                .bytes()
                .next()
                .is_some_and(|b| b.is_ascii_alphanumeric())
    };
    if text.len() <= 128 && text.split('/').all(part) {
        Ok(text.to_owned())
    } else {
        Err(
            "use a project, and what follows it in images' names, such as base or base/docker.io"
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> BuildArgs {
        BuildArgs {
            build_source_image: Some("coracle:1".to_owned()),
            build_control: Some("http://coracle-control:7070".to_owned()),
            build_registry: Some("coracle-registry:5000".to_owned()),
            ..BuildArgs::default()
        }
    }

    #[test]
    fn a_cluster_builds_when_it_was_told_all_three() {
        let desk = ContextDesk::default();
        let none = BuildSettings::choose(&BuildArgs::default(), BuildSettings::default()).unwrap();
        assert!(none.on_cluster(&desk).is_none());
        let all = BuildSettings::choose(&cluster(), none.clone()).unwrap();
        let config = all.on_cluster(&desk).unwrap();
        assert_eq!(config.registry, "coracle-registry:5000");
        assert_eq!(config.transport, Transport::Plain);
        assert_eq!(config.image, BuildConfig::BUILDKIT_IMAGE);
        // Remembered.
        let again = BuildSettings::choose(&BuildArgs::default(), all.clone()).unwrap();
        assert_eq!(again, all);
        let some = BuildArgs {
            build_control: None,
            ..cluster()
        };
        let error = BuildSettings::choose(&some, none).unwrap_err();
        assert!(
            error.message.contains("need --build-control too"),
            "{}",
            error.message
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for good in ["http://a:1", "https://a.b/"] {
            assert!(control_url(good).is_ok(), "{good}");
        }
        for bad in ["", "a:1", "http://", "http://a/b", "http://u@a", "ftp://a"] {
            assert!(control_url(bad).is_err(), "{bad}");
        }
        for good in ["r:5000", "r.example.org", "https://r.example.org"] {
            assert!(registry(good).is_ok(), "{good}");
        }
        for bad in ["", "r", "http://r:5000", "r:5000/a", "https://"] {
            assert!(registry(bad).is_err(), "{bad}");
        }
        for good in ["base", "base/docker.io"] {
            assert!(base_images(good).is_ok(), "{good}");
        }
        for bad in ["", "/base", "base/", "../x", "a b", "A"] {
            assert!(base_images(bad).is_err(), "{bad}");
        }
        let little = BuildArgs {
            build_memory: Some(ByteSize(1)),
            ..BuildArgs::default()
        };
        assert!(BuildSettings::choose(&little, BuildSettings::default()).is_err());
    }

    #[test]
    fn the_bounds_are_those_that_were_asked_for() {
        let args = BuildArgs {
            build_memory: Some(ByteSize::mib(512)),
            build_time: Some(Span::secs(90)),
            ..BuildArgs::default()
        };
        let limits = BuildSettings::choose(&args, BuildSettings::default())
            .unwrap()
            .limits();
        assert_eq!(limits.build_memory_bytes, 512 << 20);
        assert_eq!(limits.build_time.as_secs(), 90);
    }
}
