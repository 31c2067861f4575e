//! What runs the pods: which engine, and what it is told.
//!
//! Theory of operation: on one machine nodes and control plane see the registry at the same address. A cluster's nodes
//! have a name of their own for it. With what they pull a project's images the engine is told once the project is known.

use std::sync::Arc;

use clap::ValueEnum;
use coracle_docker::{DockerConfig, DockerEngine};
use coracle_engine::{ContextDesk, Engine};
use coracle_kubernetes::config::{PodSecurity, RegistryNames};
use coracle_kubernetes::{KubernetesConfig, KubernetesEngine};
use coracle_task::Supervisor;
use serde::{Deserialize, Serialize};

use crate::env_vars;
use crate::error::{CliError, Result};
use crate::settings::{EngineKind, PlatformSettings};

/// Flags for `--engine kubernetes`. The cluster is that of KUBECONFIG, or the one that this process is a pod of.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct KubernetesArgs {
    /// The registry as a cluster's nodes reach it [default: as --listen]
    #[arg(long, value_name = "HOST:PORT", env = env_vars::NODE_REGISTRY, hide_env_values = true, value_parser = registry_host)]
    pub(crate) node_registry: Option<String>,
    /// Namespace of the platform itself: its pods may reach those of every project [default: none]
    #[arg(long, value_name = "NAMESPACE", env = env_vars::NAMESPACE, hide_env_values = true)]
    pub(crate) namespace: Option<String>,
    /// What pods may do [default: restricted]
    #[arg(long, value_enum, env = env_vars::POD_SECURITY, hide_env_values = true)]
    pub(crate) pod_security: Option<PodSecurityLevel>,
    /// The user that restricted pods run as [default: 10001]
    #[arg(long, value_name = "NUMBER", env = env_vars::POD_USER, hide_env_values = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pod_user: Option<u32>,
    /// Storage class of volumes [default: the cluster's]
    #[arg(long, value_name = "CLASS", env = env_vars::STORAGE_CLASS, hide_env_values = true)]
    pub(crate) storage_class: Option<String>,
}

/// A level of the Pod Security Standards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PodSecurityLevel {
    /// Never root, no capabilities; every pod runs as --pod-user
    #[default]
    Restricted,
    /// The image's own user, which may be root
    Baseline,
}

/// What a cluster is told, as it is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KubernetesSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node_registry: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    pub(crate) pod_security: PodSecurityLevel,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pod_user: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storage_class: Option<String>,
}

impl KubernetesSettings {
    /// What `args` say, and where they say nothing what was before.
    pub(crate) fn choose(args: &KubernetesArgs, before: Self) -> Self {
        Self {
            node_registry: args.node_registry.clone().or(before.node_registry),
            namespace: args.namespace.clone().or(before.namespace),
            pod_security: args.pod_security.unwrap_or(before.pod_security),
            pod_user: args.pod_user.or(before.pod_user),
            storage_class: args.storage_class.clone().or(before.storage_class),
        }
    }

    /// Is this process a pod of the platform's own cluster, as the Helm chart makes it?
    pub(crate) fn in_pod(&self) -> bool {
        self.namespace.is_some() && env_vars::read(env_vars::IN_CLUSTER).is_some()
    }

    fn pod_security(&self) -> PodSecurity {
        match self.pod_security {
            PodSecurityLevel::Restricted => PodSecurity::Restricted {
                uid: self.pod_user.unwrap_or(PodSecurity::DEFAULT_UID),
            },
            PodSecurityLevel::Baseline => PodSecurity::Baseline,
        }
    }
}

/// A registry's place as it stands at the beginning of an image's name.
fn registry_host(text: &str) -> std::result::Result<String, String> {
    let hint = "use HOST or HOST:PORT, such as 127.0.0.1:30070 or registry.example.org";
    // Without a dot or a port the first part of an image's name is no registry.
    if !text.contains(['.', ':']) || text.contains('/') {
        return Err(hint.to_owned());
    }
    match coracle_model::name::ImageRef::new(format!("{text}/a:1")) {
        Ok(_name) => Ok(text.to_owned()),
        Err(_no_name) => Err(hint.to_owned()),
    }
}

/// Opens the engine that the settings name, for the platform `id`. Sources of builds are laid out at `desk`.
pub(crate) async fn open(
    settings: &PlatformSettings,
    id: &str,
    desk: &ContextDesk,
    supervisor: &Supervisor,
) -> Result<Arc<dyn Engine>> {
    match settings.engine {
        EngineKind::Docker => {
            let config = DockerConfig {
                build_cache: settings.build_cache,
                ..DockerConfig::new(id, supervisor.child("docker"))
            };
            let engine = DockerEngine::connect(config)
                .await
                .map_err(|error| CliError::caused("the Docker engine cannot be used", &error))?;
            Ok(engine)
        }
        EngineKind::Kubernetes => {
            let mut config = kubernetes(settings, id, supervisor);
            config.build = settings.build.on_cluster(desk);
            let engine = KubernetesEngine::connect(config).await.map_err(|error| {
                CliError::caused("the Kubernetes cluster cannot be used", &error)
                    .hint("KUBECONFIG names the cluster, where this is no pod of it")
            })?;
            Ok(engine)
        }
    }
}

/// What the Kubernetes engine is told.
pub(crate) fn kubernetes(
    settings: &PlatformSettings,
    id: &str,
    supervisor: &Supervisor,
) -> KubernetesConfig {
    let own = settings.local_listen().to_string();
    let nodes = settings.kubernetes.node_registry.clone();
    let nodes = nodes.unwrap_or_else(|| own.clone());
    let mut config = KubernetesConfig::new(id, supervisor.child("kubernetes"));
    config.registry = Some(RegistryNames { own, nodes });
    config
        .system_namespace
        .clone_from(&settings.kubernetes.namespace);
    config.pod_security = settings.kubernetes.pod_security();
    config
        .storage_class
        .clone_from(&settings.kubernetes.storage_class);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_host_with_a_dot_or_a_port() {
        for good in ["127.0.0.1:30070", "registry.example.org", "r:5000"] {
            assert_eq!(registry_host(good).as_deref(), Ok(good));
        }
        for bad in ["", "registry", "http://a.b", "a.b/c", "a b.c", ":5000"] {
            assert!(registry_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nodes_have_a_name_of_their_own_for_the_registry() {
        let mut settings = PlatformSettings::default();
        let names = |settings: &PlatformSettings| {
            let config = kubernetes(settings, "id", &Supervisor::new("test"));
            let names = config.registry.unwrap();
            (names.own, names.nodes)
        };
        let own = || "127.0.0.1:7070".to_owned();
        assert_eq!(names(&settings), (own(), own()));
        let nodes = "127.0.0.1:30070".to_owned();
        settings.kubernetes.node_registry = Some(nodes.clone());
        assert_eq!(names(&settings), (own(), nodes));
    }
}
