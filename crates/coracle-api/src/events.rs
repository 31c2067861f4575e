//! Live changes of objects, as server-sent events.
//!
//! Theory of operation: a follower first gets everything that exists (`applied` each), then `synced`, then each change.
//! Objects of the store carry the store's revision as the event's id: a browser that was cut off says the
//! last one it saw (`Last-Event-ID`) and gets only what changed since. Pods and nodes are the engine's and
//! have no revision: they are told anew. A follower that is too slow gets `reset` and everything again.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use coracle_control::objects::decode_object;
use coracle_control::{keys, pod::as_object};
use coracle_engine::EngineEvent;
use coracle_model::app::AppSpec;
use coracle_model::build::BuildSpec;
use coracle_model::name::ProjectName;
use coracle_model::object::{Kind, Of, Spec};
use coracle_model::problem::Problem;
use coracle_model::project::ProjectSpec;
use coracle_model::release::ReleaseSpec;
use coracle_model::user::ProjectScope;
use coracle_store::{Entry, StoreError};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::caller::Caller;
use crate::error::ApiResult;
use crate::extract::Query;
use crate::state::ApiState;
use crate::view;

/// Events between the source and a follower.
const BUFFER: usize = 64;

/// Which changes.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventQuery {
    /// Of this project only.
    #[serde(default)]
    project: Option<ProjectName>,
    /// Of these kinds only, such as `App,Pod`.
    #[serde(default)]
    kinds: Option<String>,
}

/// What a follower gets to see.
struct Filter {
    caller: Caller,
    project: Option<ProjectName>,
    kinds: Option<Vec<String>>,
}

impl Filter {
    fn wants(&self, kind: Kind, project: Option<&ProjectName>) -> bool {
        let in_scope = match project {
            Some(project) => {
                self.caller.sees(project)
                    && self.project.as_ref().is_none_or(|only| only == project)
            }
            None => self.project.is_none() && self.caller.scope() == ProjectScope::All,
        };
        let name = format!("{kind:?}");
        in_scope
            && self.kinds.as_ref().is_none_or(|kinds| {
                kinds
                    .iter()
                    .any(|wanted| wanted.eq_ignore_ascii_case(&name))
            })
    }
}

/// The follower went away.
struct Gone;

struct Follower {
    state: ApiState,
    filter: Filter,
    out: mpsc::Sender<Event>,
}

/// Follow changes of what the caller may see.
#[utoipa::path(get, path = "/api/v1/events", tag = "platform", params(EventQuery), responses(
    (status = 200, description = "text/event-stream: applied, deleted, synced, reset"), (status = "default", body = Problem)))]
pub(crate) async fn follow(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<EventQuery>,
) -> ApiResult<Response> {
    let last_seen = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let kinds = query.kinds.map(|kinds| {
        kinds
            .split(',')
            .map(|kind| kind.trim().to_owned())
            .collect()
    });
    let (out, events) = mpsc::channel(BUFFER);
    let follower = Follower {
        filter: Filter {
            caller,
            project: query.project,
            kinds,
        },
        state: state.clone(),
        out,
    };
    state.supervisor.spawn("event stream", async move {
        // An end without an error is a follower that left.
        let _left = follower.run(last_seen).await;
    });
    let stream = ReceiverStream::new(events).map(Ok::<_, Infallible>);
    Ok(Sse::new(stream)
        .keep_alive(KeepAlive::default())
        .into_response())
}

impl Follower {
    async fn run(&self, mut last_seen: Option<u64>) -> Result<(), Gone> {
        loop {
            if let Err(error) = self.follow_once(last_seen.take()).await? {
                tracing::debug!(%error, "an event stream starts afresh");
            }
            self.send(Event::default().event("reset").data("{}"))
                .await?;
        }
    }

    /// Everything, or what changed since `last_seen`, and then each change, until one of the sources fails.
    async fn follow_once(&self, last_seen: Option<u64>) -> Result<Result<(), StoreError>, Gone> {
        let store = self.state.control.objects.store();
        let mut pods = self.state.control.observed.changes();
        let mut from = last_seen.map(|seen| seen + 1);
        let mut changes = match store.watch("/", from).await {
            Err(StoreError::Compacted { .. }) if from.is_some() => {
                from = None;
                store.watch("/", None).await
            }
            other => other,
        };
        if from.is_none() {
            let listing = match store.list_all("/").await {
                Ok(listing) => listing,
                Err(error) => return Ok(Err(error)),
            };
            for entry in &listing.entries {
                self.entry(entry).await?;
            }
            changes = store.watch("/", Some(listing.revision + 1)).await;
        }
        let mut changes = match changes {
            Ok(changes) => changes,
            Err(error) => return Ok(Err(error)),
        };
        for node in self.state.control.observed.nodes() {
            self.object("applied", None, node.kind, None, &*node)
                .await?;
        }
        for pod in self.state.control.observed.pods() {
            self.pod(&as_object(&pod)).await?;
        }
        self.send(Event::default().event("synced").data("{}"))
            .await?;
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(coracle_store::Event::Put(entry))) => self.entry(&entry).await?,
                    Some(Ok(coracle_store::Event::Delete { key, revision })) => self.deleted(&key, revision).await?,
                    Some(Err(error)) => return Ok(Err(error)),
                    None => return Ok(Ok(())),
                },
                change = pods.recv() => match change {
                    Ok(change) => self.engine(change).await?,
                    Err(RecvError::Lagged(_)) => return Ok(Ok(())),
                    Err(RecvError::Closed) => std::future::pending().await,
                },
                () = self.out.closed() => return Err(Gone),
            }
        }
    }

    async fn send(&self, event: Event) -> Result<(), Gone> {
        self.out.send(event).await.map_err(|_closed| Gone)
    }

    async fn object<T: Serialize>(
        &self,
        what: &'static str,
        revision: Option<u64>,
        kind: Kind,
        project: Option<&ProjectName>,
        object: &T,
    ) -> Result<(), Gone> {
        if !self.filter.wants(kind, project) {
            return Ok(());
        }
        let mut event = Event::default().event(what);
        if let Some(revision) = revision {
            event = event.id(revision.to_string());
        }
        match event.json_data(object) {
            Ok(event) => self.send(event).await,
            Err(error) => {
                tracing::error!(%error, "an event could not be written");
                Ok(())
            }
        }
    }

    async fn entry(&self, entry: &Entry) -> Result<(), Gone> {
        let key = entry.key.as_str();
        if key.starts_with(keys::APPS) {
            self.decoded::<AppSpec>(entry, view::app).await
        } else if key.starts_with(keys::RELEASES) {
            self.decoded::<ReleaseSpec>(entry, view::release).await
        } else if key.starts_with(keys::BUILDS) {
            self.decoded::<BuildSpec>(entry, |build| build).await
        } else if key.starts_with(keys::PROJECTS) {
            self.decoded::<ProjectSpec>(entry, |project| project).await
        } else {
            // Users, tokens, claims and the journal have routes of their own.
            Ok(())
        }
    }

    async fn decoded<S: Spec>(
        &self,
        entry: &Entry,
        view: impl Fn(Of<S>) -> Of<S>,
    ) -> Result<(), Gone>
    where
        Of<S>: Serialize,
    {
        match decode_object::<S>(entry) {
            Ok(object) => {
                let object = view(object);
                let project = match S::KIND {
                    Kind::Project => ProjectName::new(object.metadata.name.clone()).ok(),
                    _ => object.metadata.project.clone(),
                };
                self.object(
                    "applied",
                    Some(entry.modified),
                    S::KIND,
                    project.as_ref(),
                    &object,
                )
                .await
            }
            Err(error) => {
                tracing::error!(%error, key = entry.key, "a record could not be read");
                Ok(())
            }
        }
    }

    async fn deleted(&self, key: &str, revision: u64) -> Result<(), Gone> {
        let parts: Vec<&str> = key.trim_start_matches('/').split('/').collect();
        let (kind, project, app, name) = match parts.as_slice() {
            ["apps", project, app] => (Kind::App, *project, None, (*app).to_owned()),
            ["projects", project] => (Kind::Project, *project, None, (*project).to_owned()),
            ["releases", project, app, n] => (
                Kind::Release,
                *project,
                Some(*app),
                format!("v{}", n.trim_start_matches('0')),
            ),
            ["builds", project, app, n] => (
                Kind::Build,
                *project,
                Some(*app),
                format!("b{}", n.trim_start_matches('0')),
            ),
            _ => return Ok(()),
        };
        let Ok(project) = ProjectName::new(project) else {
            return Ok(());
        };
        let mut data =
            serde_json::json!({ "kind": kind, "metadata": { "name": name, "project": project } });
        if let Some(app) = app {
            data["spec"] = serde_json::json!({ "app": app });
        }
        self.object("deleted", Some(revision), kind, Some(&project), &data)
            .await
    }

    async fn pod(&self, pod: &coracle_model::pod::Pod) -> Result<(), Gone> {
        self.object(
            "applied",
            None,
            Kind::Pod,
            pod.metadata.project.as_ref(),
            pod,
        )
        .await
    }

    async fn engine(&self, change: EngineEvent) -> Result<(), Gone> {
        match change {
            EngineEvent::Pod(pod) => self.pod(&as_object(&pod)).await,
            EngineEvent::PodGone(id) => {
                let data = serde_json::json!({ "kind": Kind::Pod, "metadata": { "name": id.name, "project": id.project } });
                self.object("deleted", None, Kind::Pod, Some(&id.project), &data)
                    .await
            }
            EngineEvent::Node(node) => self.object("applied", None, Kind::Node, None, &node).await,
            EngineEvent::NodeGone(name) => {
                let data = serde_json::json!({ "kind": Kind::Node, "metadata": { "name": name } });
                self.object("deleted", None, Kind::Node, None, &data).await
            }
            EngineEvent::Reset | EngineEvent::Synced => Ok(()),
        }
    }
}
