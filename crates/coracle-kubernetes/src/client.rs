//! The connection to the API server, and errors made from its answers.

use std::fmt::Debug;
use std::time::Duration;

use coracle_engine::EngineError;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::api::{Patch, PatchParams};
use kube::client::{Body, ConfigExt as _, retry::RetryPolicy};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{NamespaceResourceScope, Status};
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::retry::RetryLayer;
use tower::{BoxError, Service as _, ServiceBuilder, service_fn};

use crate::config::{Access, KubernetesConfig, Patience};
use crate::deadline::Deadlines;
use crate::facts::{MANAGER, is_ours};
use crate::rbac;

/// For a connection to the API server, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection on which nothing came for so long is asked for a sign of life, …
const ALIVE_AFTER: Duration = Duration::from_secs(30);
/// … again after this, …
const ALIVE_AGAIN: Duration = Duration::from_secs(10);
/// … and so often before it is taken for dead.
const ALIVE_TRIES: u32 = 3;
/// A request that the API server is too busy for is sent again so often, with pauses from the first to the longest: what
/// takes longer is its caller's to repeat. A `Retry-After` is not heeded: a load balancer's minute would hold the caller's
/// turn, and be over only after its deadline.
const BUSY: (u32, Duration, Duration) = (4, Duration::from_millis(50), Duration::from_secs(2));
/// Words of the API server that are passed on.
const WORDS: usize = 600;

fn refused(error: &dyn std::error::Error) -> EngineError {
    let words = chain(error);
    // The further lines of a parser's message show the file, and so what opens the cluster.
    let words = words.lines().next().unwrap_or_default();
    EngineError::Refused(format!("the way to the cluster: {words}"))
}

/// Makes the client. Nothing is asked yet: the API server need not be up.
pub(crate) async fn client(config: &KubernetesConfig) -> Result<Client, EngineError> {
    connect(way(config).await?, config.patience)
}

/// The client for a way to the cluster: kube's own layers, with sockets that notice a dead peer though nothing is sent to it, and bounds
/// on silence. (What was sent to a dead peer and nobody waits for, as a command's input, is given up by the kernel.)
pub(crate) fn connect(way: Config, patience: Patience) -> Result<Client, EngineError> {
    if way.proxy_url.is_some() {
        return Err(EngineError::Refused(
            "the way to the cluster: it leads through a proxy, which is not supported".to_owned(),
        ));
    }
    let namespace = way.default_namespace.clone();
    let (tries, first, longest) = BUSY;
    let again = RetryPolicy::new(first, longest, tries, false).map_err(|e| refused(&e))?;
    let service = ServiceBuilder::new()
        .layer(Deadlines(patience))
        .layer(way.base_uri_layer())
        .layer(RetryLayer::new(again))
        .option_layer(way.auth_layer().map_err(|e| refused(&e))?)
        .layer(way.extra_headers_layer().map_err(|e| refused(&e))?)
        .map_err(BoxError::from)
        .service(sockets(&way)?);
    Ok(Client::new(service, namespace))
}

type Sockets<C> = hyper_util::client::legacy::Client<C, Body>;

fn sockets(way: &Config) -> Result<Sockets<impl Connect + Clone + use<>>, EngineError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_keepalive(Some(ALIVE_AFTER));
    tcp.set_keepalive_interval(Some(ALIVE_AGAIN));
    tcp.set_keepalive_retries(Some(ALIVE_TRIES));
    // No TCP_USER_TIMEOUT: it also ends connections whose other side acknowledges, but has no room for more, as a pod that
    // does not read its input for a while.
    let tls = way.rustls_https_connector_with_connector(tcp);
    let tls = tls.map_err(|e| refused(&e))?;
    let within = way.connect_timeout.unwrap_or(CONNECT);
    let connector = service_fn(move |address: http::Uri| {
        let mut tls = tls.clone();
        Box::pin(async move {
            match tokio::time::timeout(within, tls.call(address)).await {
                Ok(connection) => connection,
                Err(_elapsed) => Err(BoxError::from(format!("no connection within {within:?}"))),
            }
        })
    });
    let builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
    Ok(builder.build(connector))
}

/// Which API server, and as whom.
pub(crate) async fn way(config: &KubernetesConfig) -> Result<Config, EngineError> {
    let mut access = match &config.access {
        Access::Infer => Config::infer().await.map_err(|e| refused(&e))?,
        Access::InCluster => Config::incluster().map_err(|e| refused(&e))?,
        Access::Kubeconfig { path, context } => {
            let file = Kubeconfig::read_from(path).map_err(|e| refused(&e))?;
            let options = KubeConfigOptions {
                context: context.clone(),
                ..KubeConfigOptions::default()
            };
            Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(|e| refused(&e))?
        }
    };
    access.connect_timeout = Some(CONNECT);
    Ok(access)
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// What the API server answered, as the port's error.
pub(crate) fn engine_error(error: kube::Error) -> EngineError {
    match error {
        kube::Error::Api(status) => answered(&status),
        kube::Error::Auth(error) => EngineError::Credentials(chain(&error)),
        kube::Error::SerdeError(error) => EngineError::Failed {
            message: "the API server's answer cannot be read".to_owned(),
            source: Some(Box::new(error)),
        },
        other => EngineError::Unavailable(Box::new(other)),
    }
}

fn answered(status: &Status) -> EngineError {
    let words: String = status.message.chars().take(WORDS).collect();
    match status.code {
        401 => EngineError::Credentials(words),
        403 => match forbidden(&words) {
            Some(grant) => EngineError::Forbidden { what: words, grant },
            None if words.contains("exceeded quota") => EngineError::Full(words),
            None => EngineError::Refused(words),
        },
        409 if words.contains("Apply failed") => EngineError::Conflict(words),
        400 | 405 | 406 | 415 | 422 => EngineError::Refused(words),
        429 | 500.. => {
            EngineError::Unavailable(Box::new(kube::Error::Api(Box::new(status.clone()))))
        }
        _ => EngineError::Failed {
            message: words,
            source: None,
        },
    }
}

/// The API server's own sentence, such as `pods is forbidden: User "u" cannot list resource "pods" in API group "" at the
/// cluster scope`: the rule that would grant it. Nothing when the refusal is no matter of rights.
fn forbidden(words: &str) -> Option<String> {
    let (_, rest) = words.split_once(" cannot ")?;
    let (verb, rest) = rest.split_once(" resource ")?;
    let quoted = |text: &str| Some(text.split('"').nth(1)?.to_owned());
    let resource = quoted(rest)?;
    let group = rest
        .split_once(" in API group ")
        .and_then(|(_, g)| quoted(g))?;
    Some(rbac::grant(&group, &resource, verb))
}

/// Is it "there is no such thing"?
pub(crate) fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Is it "it is not as you said it was", or "it exists already"?
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// That there was none is no error.
pub(crate) fn ignore_missing<T>(result: Result<T, kube::Error>) -> Result<(), EngineError> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) => Err(engine_error(error)),
    }
}

/// Server-side apply, never by force.
pub(crate) async fn apply<K>(api: &Api<K>, name: &str, object: &Value) -> Result<K, EngineError>
where
    K: Clone + Debug + DeserializeOwned,
{
    let parameters = PatchParams::apply(MANAGER);
    api.patch(name, &parameters, &Patch::Apply(object))
        .await
        .map_err(engine_error)
}

/// Server-side apply of something that nobody watches for us: what has its name and is not ours is not touched.
pub(crate) async fn apply_own<K>(
    api: &Api<K>,
    platform: &str,
    name: &str,
    object: &Value,
) -> Result<K, EngineError>
where
    K: Resource + Clone + Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    if let Some(found) = api.get_metadata_opt(name).await.map_err(engine_error)?
        && !is_ours(&found.metadata, platform)
    {
        return Err(foreign::<K>(found.metadata.namespace.as_deref(), name));
    }
    apply(api, name, object).await
}

/// What stands in the way.
pub(crate) fn foreign<K: Resource>(namespace: Option<&str>, name: &str) -> EngineError
where
    K::DynamicType: Default,
{
    let kind = K::kind(&K::DynamicType::default()).to_lowercase();
    match namespace {
        Some(namespace) => EngineError::Foreign(format!("the {kind} {namespace}/{name}")),
        None => EngineError::Foreign(format!("the {kind} {name}")),
    }
}

/// Changes some fields of metadata, as field manager `coracle`.
pub(crate) async fn merge<K>(api: &Api<K>, name: &str, change: &Value) -> Result<K, kube::Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api.patch(name, &parameters, &Patch::Merge(change)).await
}

/// Adds an owner to an object, beside those that it has, so that it goes when the last of them goes.
pub(crate) async fn own<K, O>(api: &Api<K>, name: &str, owner: &O) -> Result<(), EngineError>
where
    K: Clone + Debug + DeserializeOwned,
    O: Resource<DynamicType = ()>,
{
    let Some(uid) = owner.meta().uid.clone() else {
        return Ok(());
    };
    let change = serde_json::json!({ "metadata": { "ownerReferences": [{
        "apiVersion": O::api_version(&()),
        "kind": O::kind(&()),
        "name": owner.name_any(),
        "uid": uid,
    }]}});
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    // Strategic: the list of owners is merged by uid.
    api.patch(name, &parameters, &Patch::Strategic(&change))
        .await
        .map(|_| ())
        .map_err(engine_error)
}

/// Objects of a kind in a namespace.
pub(crate) fn within<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope>,
    K::DynamicType: Default,
{
    Api::namespaced(client.clone(), namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str) -> EngineError {
        let status = Status {
            code,
            ..Status::failure(message, "")
        };
        engine_error(kube::Error::Api(Box::new(status)))
    }

    #[tokio::test]
    async fn a_damaged_kubeconfig_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let text =
            "apiVersion: v1\nkind: Config\nusers:\n- name: u\n  user: {token: \"hunter2\"}}\n";
        std::fs::write(&path, text).unwrap();
        let supervisor = coracle_task::Supervisor::new("test");
        let config = KubernetesConfig {
            access: Access::Kubeconfig {
                path,
                context: None,
            },
            ..KubernetesConfig::new("p1", supervisor)
        };
        let error = way(&config).await.unwrap_err().to_string();
        assert!(error.contains("the way to the cluster"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_is_forbidden_says_how_it_is_granted() {
        let words = r#"deployments.apps is forbidden: User "system:serviceaccount:coracle:coracle" cannot patch resource "deployments" in API group "apps" in the namespace "coracle-shop""#;
        let text = status(403, words).to_string();
        assert!(text.contains(r#"apiGroups: ["apps"]"#), "{text}");
        assert!(text.contains(r#"verbs: ["patch"]"#), "{text}");
    }

    #[test]
    fn answers_have_types() {
        assert!(matches!(
            status(401, "Unauthorized"),
            EngineError::Credentials(_)
        ));
        let quota = r#"pods "a" is forbidden: exceeded quota: q, requested: pods=1"#;
        assert!(matches!(status(403, quota), EngineError::Full(_)));
        let admission = r#"pods "a" is forbidden: violates PodSecurity "restricted:latest""#;
        assert!(matches!(status(403, admission), EngineError::Refused(_)));
        let conflict = r#"Apply failed with 1 conflict: conflict with "kubectl": .spec.replicas"#;
        assert!(matches!(status(409, conflict), EngineError::Conflict(_)));
        assert!(matches!(status(503, "etcd"), EngineError::Unavailable(_)));
        assert!(matches!(status(422, "bad"), EngineError::Refused(_)));
    }
}
