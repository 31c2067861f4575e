//! All pods of a platform stopped, without an engine: for whoever takes the whole platform down.
//!
//! Deployments get no replicas, by the same field manager as always, so that the engine's next life does not take it for
//! somebody else's doing and gives them back what is wished. Bare pods are deleted and made again by then. Jobs are left to
//! their end: a command that runs once must not begin again.

use coracle_engine::EngineError;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt as _};

use crate::client::{apply, client, engine_error, ignore_missing, within};
use crate::config::KubernetesConfig;
use crate::facts::{Facts, PLATFORM, PodKind};
use crate::object;
use crate::phase;

/// Objects changed at the same time.
const AT_ONCE: usize = 8;

/// Stops every pod of `config`'s platform but those that run once, and says how many pods that are.
///
/// # Errors
/// When the API server does not answer, or one of them could not be stopped; the others are, nevertheless.
pub async fn stop_pods(config: &KubernetesConfig) -> Result<usize, EngineError> {
    let client = client(config).await?;
    let own = ListParams::default().labels(&format!("{PLATFORM}={}", config.platform));
    let sets: Api<Deployment> = Api::all(client.clone());
    let sets = sets.list(&own).await.map_err(engine_error)?.items;
    let pods: Api<Pod> = Api::all(client.clone());
    let mut pods = pods.list(&own).await.map_err(engine_error)?.items;
    pods.retain(|pod| {
        let facts = Facts::read(&pod.metadata, &config.platform);
        let kind = facts.map(|facts| facts.kind);
        matches!(kind, Some(PodKind::Replicated | PodKind::Single)) && !phase::has_ended(pod)
    });
    let count = pods.len();
    let single = |pod: &Pod| pod.metadata.owner_references.is_none();
    let sets = sets.into_iter().map(|set| Halt::Set(Box::new(set)));
    let pods = pods.into_iter().filter(single);
    let pods = pods.map(|pod| Halt::Pod(Box::new(pod)));
    let mut halting = futures::stream::iter(sets.chain(pods))
        .map(|halt| halt.done(&client))
        .buffer_unordered(AT_ONCE);
    let mut failed = None;
    while let Some(halted) = halting.next().await {
        failed = failed.or(halted.err());
    }
    failed.map_or(Ok(count), Err)
}

enum Halt {
    Set(Box<Deployment>),
    Pod(Box<Pod>),
}

impl Halt {
    async fn done(self, client: &Client) -> Result<(), EngineError> {
        match self {
            Self::Set(set) => {
                let api: Api<Deployment> = within(client, &set.namespace().unwrap_or_default());
                let none = object::resubmit(&set, 0);
                apply(&api, &set.name_any(), &none).await.map(drop)
            }
            Self::Pod(pod) => {
                let api: Api<Pod> = within(client, &pod.namespace().unwrap_or_default());
                // With the grace that stands in the pod.
                let deleted = api.delete(&pod.name_any(), &DeleteParams::default()).await;
                ignore_missing(deleted)
            }
        }
    }
}
