//! What builds are told once.

use coracle_engine::ContextDesk;
use coracle_model::quantity::{ByteSize, Cpu};

/// How images are built on the cluster.
#[derive(Clone, Debug)]
pub struct BuildConfig {
    /// The program that builds.
    pub tool: BuildTool,
    /// Its image, as nodes pull it.
    pub image: String,
    /// An image of Coracle itself, as nodes pull it: it fetches the source.
    pub source_image: String,
    /// Where build pods run: a namespace that is no project's, made when it is missing.
    pub namespace: String,
    /// The control plane as pods reach it, such as `http://coracle-control.coracle-system:7070`. All addresses of the name
    /// are tried.
    pub control: String,
    /// Coracle's own registry as pods reach it: `host:port`.
    pub registry: String,
    /// What is spoken there.
    pub transport: Transport,
    /// Where in Coracle's own registry the images of `docker.io` are looked for first, such as `base`: `FROM debian:12` is
    /// then `base/library/debian:12`.
    pub base_images: Option<String>,
    /// The user that builds run as. Images of build tools are made for one user, mostly 1000.
    pub user: u32,
    /// Processor time that a build may use; as much as is free when absent.
    pub cpu: Option<Cpu>,
    /// Bytes on the node's disk that a build may use.
    pub storage: ByteSize,
    /// Names of Secrets in [`BuildConfig::namespace`] with which nodes pull the two images, where they need them.
    pub pull_secrets: Vec<String>,
    /// Where sources are laid out for build pods.
    pub desk: ContextDesk,
}

/// A program that builds images without root and without a daemon of the cluster's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BuildTool {
    /// BuildKit by `buildctl-daemonless.sh`, which builds and pushes in one.
    #[default]
    Buildkit,
    /// Buildah, with steps in a chroot and layers as plain folders.
    Buildah,
}

/// What is spoken to a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// HTTP: inside the cluster.
    #[default]
    Plain,
    /// HTTPS, with a certificate that the build tool's image trusts.
    Tls,
}

impl BuildConfig {
    /// BuildKit's image unless told otherwise.
    pub const BUILDKIT_IMAGE: &'static str = "docker.io/moby/buildkit:v0.23.2-rootless";
    /// Buildah's image unless told otherwise.
    pub const BUILDAH_IMAGE: &'static str = "quay.io/buildah/stable:v1.40.1";
    /// The user that both run as.
    pub const DEFAULT_USER: u32 = 1000;
    /// The disk of one build unless told otherwise.
    pub const DEFAULT_STORAGE: ByteSize = ByteSize::mib(20 * 1024);

    /// The defaults, for a tool and the three addresses that nobody can guess.
    #[must_use]
    pub fn new(
        tool: BuildTool,
        source_image: impl Into<String>,
        control: impl Into<String>,
        registry: impl Into<String>,
        desk: ContextDesk,
    ) -> Self {
        let image = match tool {
            BuildTool::Buildkit => Self::BUILDKIT_IMAGE,
            BuildTool::Buildah => Self::BUILDAH_IMAGE,
        };
        Self {
            tool,
            image: image.to_owned(),
            source_image: source_image.into(),
            namespace: "builds-coracle".to_owned(),
            control: control.into(),
            registry: registry.into(),
            transport: Transport::Plain,
            base_images: None,
            user: Self::DEFAULT_USER,
            cpu: None,
            storage: Self::DEFAULT_STORAGE,
            pull_secrets: Vec::new(),
            desk,
        }
    }
}
