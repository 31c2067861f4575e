//! Every environment variable that the program reads, in one place.

/// Where the platform keeps everything.
pub(crate) const DATA_DIR: &str = "CORACLE_DATA_DIR";
/// Address of the API, the dashboard and the registry.
pub(crate) const LISTEN: &str = "CORACLE_LISTEN";
/// Address of applications.
pub(crate) const HTTP: &str = "CORACLE_HTTP";
/// Where the registry alone is.
pub(crate) const REGISTRY_LISTEN: &str = "CORACLE_REGISTRY_LISTEN";
/// The registry as a cluster's nodes reach it.
pub(crate) const NODE_REGISTRY: &str = "CORACLE_NODE_REGISTRY";
/// What runs the pods.
pub(crate) const ENGINE: &str = "CORACLE_ENGINE";
/// The namespace of the platform itself.
pub(crate) const NAMESPACE: &str = "CORACLE_NAMESPACE";
/// What pods may do on a cluster.
pub(crate) const POD_SECURITY: &str = "CORACLE_POD_SECURITY";
/// The user that they run as there.
pub(crate) const POD_USER: &str = "CORACLE_POD_USER";
/// Storage class of their volumes.
pub(crate) const STORAGE_CLASS: &str = "CORACLE_STORAGE_CLASS";
/// The control planes that a gateway asks for routes.
pub(crate) const CONTROL: &str = "CORACLE_CONTROL";
/// The file with the gateway's token.
pub(crate) const GATEWAY_TOKEN_FILE: &str = "CORACLE_GATEWAY_TOKEN_FILE";
/// The gateway's token itself.
pub(crate) const GATEWAY_TOKEN: &str = "CORACLE_GATEWAY_TOKEN";
/// The name under which a gateway reports.
pub(crate) const GATEWAY_ID: &str = "CORACLE_GATEWAY_ID";
/// Where a gateway answers probes.
pub(crate) const HEALTH: &str = "CORACLE_HEALTH";
/// How long a gateway that was asked to end goes on taking connections.
pub(crate) const NOTICE_SECONDS: &str = "CORACLE_NOTICE_SECONDS";
/// How long requests then have to end.
pub(crate) const DRAIN_SECONDS: &str = "CORACLE_DRAIN_SECONDS";
/// Where API objects are kept.
pub(crate) const STORE: &str = "CORACLE_STORE";
/// Addresses of etcd.
pub(crate) const ETCD_ENDPOINTS: &str = "CORACLE_ETCD_ENDPOINTS";
/// What every key in etcd begins with.
pub(crate) const ETCD_PREFIX: &str = "CORACLE_ETCD_PREFIX";
/// The file with the authority that signed etcd's certificates.
pub(crate) const ETCD_CA: &str = "CORACLE_ETCD_CA";
/// The file with this platform's certificate for etcd.
pub(crate) const ETCD_CERT: &str = "CORACLE_ETCD_CERT";
/// The file with that certificate's private key.
pub(crate) const ETCD_KEY: &str = "CORACLE_ETCD_KEY";
/// This platform's user in etcd.
pub(crate) const ETCD_USER: &str = "CORACLE_ETCD_USER";
/// The file with that user's password.
pub(crate) const ETCD_PASSWORD_FILE: &str = "CORACLE_ETCD_PASSWORD_FILE";
/// That user's password itself.
pub(crate) const ETCD_PASSWORD: &str = "CORACLE_ETCD_PASSWORD";
/// Who cuts the history of etcd.
pub(crate) const ETCD_COMPACTION: &str = "CORACLE_ETCD_COMPACTION";
/// How long another control plane waits for a dead leader.
pub(crate) const LEADER_LEASE: &str = "CORACLE_LEADER_LEASE";
/// The volume that all control planes have.
pub(crate) const SHARED_DIR: &str = "CORACLE_SHARED_DIR";
/// Set by a control plane that led, for the process that takes its place: where another start gives up because the
/// store refuses, it waits.
pub(crate) const LED_BEFORE: &str = "CORACLE_LED_BEFORE";
/// The key that secrets are sealed with, in hexadecimal digits, where it is not a file.
pub(crate) const SECRET_KEY: &str = "CORACLE_SECRET_KEY";
/// Memory of one build.
pub(crate) const BUILD_MEMORY: &str = "CORACLE_BUILD_MEMORY";
/// Time of one build.
pub(crate) const BUILD_TIME: &str = "CORACLE_BUILD_TIME";
/// Coracle's own image, which fetches sources for builds on a cluster.
pub(crate) const BUILD_SOURCE_IMAGE: &str = "CORACLE_BUILD_SOURCE_IMAGE";
/// The control planes as builds reach them.
pub(crate) const BUILD_CONTROL: &str = "CORACLE_BUILD_CONTROL";
/// The registry as builds reach it.
pub(crate) const BUILD_REGISTRY: &str = "CORACLE_BUILD_REGISTRY";
/// What builds on a cluster.
pub(crate) const BUILD_TOOL: &str = "CORACLE_BUILD_TOOL";
/// The image of what builds.
pub(crate) const BUILD_IMAGE: &str = "CORACLE_BUILD_IMAGE";
/// The namespace of builds.
pub(crate) const BUILD_NAMESPACE: &str = "CORACLE_BUILD_NAMESPACE";
/// Where images of docker.io are looked for first.
pub(crate) const BUILD_BASE_IMAGES: &str = "CORACLE_BUILD_BASE_IMAGES";
/// The user that builds run as.
pub(crate) const BUILD_USER: &str = "CORACLE_BUILD_USER";
/// Processors of one build.
pub(crate) const BUILD_CPU: &str = "CORACLE_BUILD_CPU";
/// Disk of one build.
pub(crate) const BUILD_STORAGE: &str = "CORACLE_BUILD_STORAGE";
/// Secrets with which nodes pull the images of builds.
pub(crate) const BUILD_PULL_SECRETS: &str = "CORACLE_BUILD_PULL_SECRETS";
/// How much Docker may keep to make builds faster.
pub(crate) const BUILD_CACHE: &str = "CORACLE_BUILD_CACHE";
/// Which addresses repositories are fetched from.
pub(crate) const GIT_REACH: &str = "CORACLE_GIT_REACH";
/// The user that a repository's server wants.
pub(crate) const GIT_USER: &str = "CORACLE_GIT_USER";
/// The password or token that it wants.
pub(crate) const GIT_PASSWORD: &str = "CORACLE_GIT_PASSWORD";
/// Set by Kubernetes in every pod.
pub(crate) const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";
/// The domain that applications are served under.
pub(crate) const DOMAIN: &str = "CORACLE_DOMAIN";
/// The password of user `admin`, at the very first start only.
pub(crate) const ADMIN_PASSWORD: &str = "CORACLE_ADMIN_PASSWORD";
/// What the platform's own processes log, such as `debug` or `coracle_api=debug,info`.
pub(crate) const LOG: &str = "CORACLE_LOG";
/// The platform that the command line speaks to.
pub(crate) const URL: &str = "CORACLE_URL";
/// The token that it presents there.
pub(crate) const TOKEN: &str = "CORACLE_TOKEN";
/// The command line's own file.
pub(crate) const CONFIG: &str = "CORACLE_CONFIG";
/// The passphrase of the secrets in an export.
pub(crate) const PASSPHRASE: &str = "CORACLE_PASSPHRASE";
/// The project that commands are about.
pub(crate) const PROJECT: &str = "CORACLE_PROJECT";
/// No colours, when it is set to anything but nothing (<https://no-color.org>).
pub(crate) const NO_COLOR: &str = "NO_COLOR";

/// The value of `name`, where it is set to something that is text.
pub(crate) fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
