//! What the engine is told once, when it is made.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use coracle_model::quantity::ByteSize;
use coracle_task::Supervisor;

use crate::build::config::BuildConfig;

/// What the engine is told once.
#[derive(Clone, Debug)]
pub struct KubernetesConfig {
    /// The platform's id: a label of everything that is made, and the only things with it are touched.
    pub platform: String,
    /// Which cluster, and as whom.
    pub access: Access,
    /// Project `shop` lives in namespace `PREFIXshop`. The default is `coracle-`.
    pub namespace_prefix: String,
    /// The namespace of the control plane and the gateways: pods of it may reach the pods of every project. By its
    /// label `kubernetes.io/metadata.name`, which the cluster sets from 1.21 on; before that it must be given the label
    /// `coracle.io/system: "true"` by hand.
    pub system_namespace: Option<String>,
    /// What pods may do.
    pub pod_security: PodSecurity,
    /// The name under which nodes reach Coracle's own registry. With it pods name the pull secret of their project.
    pub registry: Option<RegistryNames>,
    /// Memory of a pod that asks for none.
    pub default_memory: ByteSize,
    /// What the scheduler keeps free for a pod, as parts of its limits.
    pub requests: Requests,
    /// `ResourceQuota.spec.hard` of every project's namespace, such as `requests.memory: 8Gi`; none when absent.
    pub quota: Option<BTreeMap<String, String>>,
    /// Storage class of volumes; the cluster's default when absent.
    pub storage_class: Option<String>,
    /// Size of a volume that asks for none.
    pub default_volume_size: ByteSize,
    /// So many workloads are changed at once.
    pub concurrency: usize,
    /// How long the API server may be silent.
    pub patience: Patience,
    /// How images are built; not at all when absent.
    pub build: Option<BuildConfig>,
    /// Owner of every task of the engine.
    pub supervisor: Supervisor,
}

/// Which cluster, and as whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// `KUBECONFIG` or `~/.kube/config`, else the pod's own service account.
    #[default]
    Infer,
    /// The pod's own service account.
    InCluster,
    /// A kubeconfig file.
    Kubeconfig {
        /// Where it is.
        path: PathBuf,
        /// One of its contexts; its current one when absent.
        context: Option<String>,
    },
}

/// How long the API server may be silent before it is taken for away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For an answer to begin, and between two pieces of it.
    pub answer: Duration,
    /// The API server ends a watch after this, to the second, and it is begun anew: one that has died on the way is
    /// noticed a few seconds later.
    pub watch: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(30),
            watch: Duration::from_mins(2),
        }
    }
}

/// What pods may do. Both leave out privileges, host namespaces, host paths and privilege escalation, and set the
/// runtime's default seccomp profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodSecurity {
    /// The Pod Security Standard `restricted`: never root, no capabilities. Whether an image can run so cannot be known
    /// beforehand, so every pod runs as this user (and with this group for its volumes), as on OpenShift.
    Restricted {
        /// The user's number, not 0.
        uid: u32,
    },
    /// The Pod Security Standard `baseline`: the image's own user, which may be root, with the few capabilities that
    /// ordinary images need to change to their own user.
    Baseline,
}

impl PodSecurity {
    /// The user under [`PodSecurity::Restricted`] unless told otherwise: beyond those that images define.
    pub const DEFAULT_UID: u32 = 10_001;

    /// As the labels of Pod Security admission call it.
    #[must_use]
    pub const fn level(self) -> &'static str {
        match self {
            Self::Restricted { .. } => "restricted",
            Self::Baseline => "baseline",
        }
    }
}

impl Default for PodSecurity {
    fn default() -> Self {
        Self::Restricted {
            uid: Self::DEFAULT_UID,
        }
    }
}

/// The two names of Coracle's own registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryNames {
    /// As images are called in the store, such as `127.0.0.1:7070`.
    pub own: String,
    /// As nodes reach it, such as `127.0.0.1:30500` or `registry.example.com`.
    pub nodes: String,
}

/// What the scheduler keeps free for a pod, in percent of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    /// Of its processors.
    pub cpu_percent: u32,
    /// Of its memory.
    pub memory_percent: u32,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            cpu_percent: 10,
            memory_percent: 25,
        }
    }
}

impl KubernetesConfig {
    /// The defaults, for a platform.
    #[must_use]
    pub fn new(platform: impl Into<String>, supervisor: Supervisor) -> Self {
        Self {
            platform: platform.into(),
            access: Access::default(),
            namespace_prefix: "coracle-".to_owned(),
            system_namespace: None,
            pod_security: PodSecurity::default(),
            registry: None,
            default_memory: ByteSize::mib(1024),
            requests: Requests::default(),
            quota: None,
            storage_class: None,
            default_volume_size: ByteSize::mib(1024),
            concurrency: 8,
            patience: Patience::default(),
            build: None,
            supervisor,
        }
    }
}
