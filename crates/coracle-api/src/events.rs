//! Live changes of objects, as server-sent events.
//!
//! Theory of operation: a follower first gets everything that exists (`applied` each), then `synced`, then each change.
//! Changes of the store, and the `synced` after everything, carry the store's revision as their id: a browser that
//! was cut off says the last one it saw (`Last-Event-ID`) and gets only what changed since. What is told before
//! `synced` has no id: it comes by name and not by revision, so it is no place to go on from. Several objects can
//! change in one revision, of which a follower may have seen a part: that revision is told again, which does no harm
//! to somebody who takes each object as a whole. Pods and nodes are the engine's and have no revision: they are
//! told anew. A follower that is too slow, or whose revision is not known here, gets `reset` and everything again.
//! A stream ends when the credentials end that it was opened with, or the rights of their user change ([`Tenure`]).
//! What was deleted is told with its uid where the stream has told of it, or the object was there at a resumption:
//! the store's log of changes does not have it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use coracle_control::OperationError;
use coracle_control::keys;
use coracle_control::objects::decode_object;
use coracle_control::pod::{as_object, merge};
use coracle_engine::EngineEvent;
use coracle_model::app::AppSpec;
use coracle_model::build::BuildSpec;
use coracle_model::name::{PodName, ProjectName, shown};
use coracle_model::object::{Kind, Of, Spec};
use coracle_model::pod::{Pod, PodSpec};
use coracle_model::problem::{Code, Problem};
use coracle_model::project::ProjectSpec;
use coracle_model::release::ReleaseSpec;
use coracle_model::user::ProjectScope;
use coracle_model::workload::{ObservedPod, PodId};
use coracle_store::{Entry, Store, StoreError, WatchStream};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::extract::Query;
use crate::state::ApiState;
use crate::tenure::{Change, Tenure};
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
    tenure: Tenure,
    project: Option<ProjectName>,
    kinds: Option<Vec<Kind>>,
}

/// The kinds that are told. The others are not everybody's and have routes of their own.
const KINDS: [Kind; 6] = [
    Kind::Project,
    Kind::App,
    Kind::Build,
    Kind::Release,
    Kind::Pod,
    Kind::Node,
];

fn parse_kinds(text: &str) -> ApiResult<Vec<Kind>> {
    let parse = |word: &str| {
        let word = word.trim();
        KINDS
            .into_iter()
            .find(|kind| format!("{kind:?}").eq_ignore_ascii_case(word))
            .ok_or_else(|| {
                let all = KINDS.map(|kind| format!("{kind:?}")).join(", ");
                Problem::new(
                    Code::InvalidField,
                    format!("there is no kind {}; there are {all}", shown(word)),
                )
                .field("kinds")
                .into()
            })
    };
    text.split(',').map(parse).collect()
}

impl Filter {
    fn wants(&self, kind: Kind, project: Option<&ProjectName>) -> bool {
        let in_scope = match project {
            Some(project) => {
                self.tenure.caller().sees(project)
                    && self.project.as_ref().is_none_or(|only| only == project)
            }
            None => self.project.is_none() && self.tenure.caller().scope() == ProjectScope::All,
        };
        in_scope && self.wants_kind(kind)
    }

    fn wants_kind(&self, kind: Kind) -> bool {
        self.kinds
            .as_ref()
            .is_none_or(|kinds| kinds.contains(&kind))
    }
}

fn pod_id(pod: &Pod) -> Option<PodId> {
    Some(PodId {
        project: pod.metadata.project.clone()?,
        name: PodName::new(pod.metadata.name.clone()).ok()?,
    })
}

/// The follower went away, or may not follow any more.
struct Gone;

struct Follower {
    state: ApiState,
    filter: Filter,
    out: mpsc::Sender<Event>,
    /// By key: what is to be told when the object is gone.
    uids: Mutex<HashMap<String, String>>,
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
    let kinds = query.kinds.as_deref().map(parse_kinds).transpose()?;
    if let Some(project) = &query.project {
        if !caller.sees(project) {
            let detail = format!("there is no project {project}");
            return Err(ApiError::new(Code::NotFound, detail));
        }
        state.control.project(project).await?;
    }
    let tenure = Tenure::new(&state, caller);
    let (out, events) = mpsc::channel(BUFFER);
    let follower = Follower {
        filter: Filter {
            tenure: tenure.clone(),
            project: query.project,
            kinds,
        },
        state: state.clone(),
        out,
        uids: Mutex::default(),
    };
    state.supervisor.spawn("event stream", async move {
        // An end without an error is a follower that left.
        let _left = tokio::select! {
            left = follower.run(last_seen) => left,
            () = tenure.ended() => Err(Gone),
        };
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
        let (revision, mut changes) = match self.begin(store, last_seen).await? {
            Ok(begun) => begun,
            Err(error) => return Ok(Err(error)),
        };
        for node in self.state.control.observed.nodes() {
            self.node(&node.metadata.name).await?;
        }
        for pod in self.state.control.observed.pods() {
            self.observed_pod(&pod).await?;
        }
        let synced = Event::default().event("synced").data("{}");
        self.send(synced.id(revision.to_string())).await?;
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(coracle_store::Event::Put(entry))) => {
                        self.check_rights(&entry.key, Change::Put)?;
                        self.entry(&entry, Some(entry.modified)).await?;
                    }
                    Some(Ok(coracle_store::Event::Delete { key, revision })) => {
                        self.check_rights(&key, Change::Delete)?;
                        self.deleted(&key, revision).await?;
                    }
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

    /// Where the changes begin: behind what the follower has seen, or behind everything, which is told here.
    async fn begin(
        &self,
        store: &Arc<dyn Store>,
        last_seen: Option<u64>,
    ) -> Result<Result<(u64, WatchStream), StoreError>, Gone> {
        if let Some(seen) = last_seen {
            let known = store.revision().await.is_ok_and(|now| seen <= now);
            if known && let Ok(changes) = store.watch("/", Some(seen)).await {
                match store.list_all("/").await {
                    Ok(listing) => listing.entries.iter().for_each(|entry| self.learn(entry)),
                    Err(error) => return Ok(Err(error)),
                }
                return Ok(Ok((seen, changes)));
            }
            self.send(Event::default().event("reset").data("{}"))
                .await?;
        }
        let listing = match store.list_all("/").await {
            Ok(listing) => listing,
            Err(error) => return Ok(Err(error)),
        };
        for entry in &listing.entries {
            self.entry(entry, None).await?;
        }
        let changes = store.watch("/", Some(listing.revision + 1)).await;
        Ok(changes.map(|changes| (listing.revision, changes)))
    }

    /// In the order of writes: nothing is told of what was written after the rights ended.
    fn check_rights(&self, key: &str, change: Change) -> Result<(), Gone> {
        if self.filter.tenure.ends_with(key, change) {
            return Err(Gone);
        }
        Ok(())
    }

    /// Remembers the uid of an object that may be told of when it is gone.
    fn learn(&self, entry: &Entry) {
        #[derive(Deserialize)]
        struct Record {
            object: Named,
        }
        #[derive(Deserialize)]
        struct Named {
            kind: Kind,
            metadata: Who,
        }
        #[derive(Deserialize)]
        struct Who {
            #[serde(default)]
            project: Option<ProjectName>,
            uid: String,
        }
        let told = [
            keys::APPS,
            keys::RELEASES,
            keys::BUILDS,
            keys::PROJECTS,
            keys::PODS,
        ];
        if !told.iter().any(|prefix| entry.key.starts_with(prefix)) {
            return;
        }
        let Ok(Record { object }) = serde_json::from_slice::<Record>(&entry.value) else {
            return;
        };
        let project = object.metadata.project.or_else(|| {
            let name = entry.key.strip_prefix(keys::PROJECTS)?;
            ProjectName::new(name).ok()
        });
        if self.filter.wants(object.kind, project.as_ref()) {
            self.uids().insert(entry.key.clone(), object.metadata.uid);
        }
    }

    fn uids(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.uids.lock().unwrap_or_else(PoisonError::into_inner)
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

    async fn entry(&self, entry: &Entry, id: Option<u64>) -> Result<(), Gone> {
        let key = entry.key.as_str();
        let role = self.filter.tenure.caller().role;
        self.learn(entry);
        if key.starts_with(keys::APPS) {
            self.decoded::<AppSpec>(entry, id, view::app).await
        } else if key.starts_with(keys::RELEASES) {
            self.decoded::<ReleaseSpec>(entry, id, |release| view::release(release, role))
                .await
        } else if key.starts_with(keys::BUILDS) {
            self.decoded::<BuildSpec>(entry, id, |build| build).await
        } else if key.starts_with(keys::PROJECTS) {
            self.decoded::<ProjectSpec>(entry, id, |project| project)
                .await
        } else if key.starts_with(keys::PODS) {
            let observed = &self.state.control.observed;
            self.decoded::<PodSpec>(entry, id, |pod| {
                let seen = pod_id(&pod).and_then(|id| observed.pod(&id));
                view::pod(merge(pod, seen.as_deref()), role)
            })
            .await
        } else if let Some(name) = key.strip_prefix(keys::NODES) {
            // What is wished of it is part of it. What it is, the engine tells: all nodes follow what is stored.
            match id {
                Some(_) => self.node(name).await,
                None => Ok(()),
            }
        } else {
            // Users, tokens, claims and the journal have routes of their own.
            Ok(())
        }
    }

    async fn decoded<S: Spec>(
        &self,
        entry: &Entry,
        id: Option<u64>,
        view: impl Fn(Of<S>) -> Of<S>,
    ) -> Result<(), Gone>
    where
        Of<S>: Serialize,
    {
        if !self.filter.wants_kind(S::KIND) {
            return Ok(());
        }
        match decode_object::<S>(entry) {
            Ok(object) => {
                let object = view(object);
                let project = match S::KIND {
                    Kind::Project => ProjectName::new(object.metadata.name.clone()).ok(),
                    _ => object.metadata.project.clone(),
                };
                self.object("applied", id, S::KIND, project.as_ref(), &object)
                    .await
            }
            Err(error) => {
                tracing::error!(%error, key = entry.key, "a record could not be read");
                Ok(())
            }
        }
    }

    async fn deleted(&self, key: &str, revision: u64) -> Result<(), Gone> {
        if let Some(name) = key.strip_prefix(keys::NODES) {
            return self.node(name).await;
        }
        let parts: Vec<&str> = key.trim_start_matches('/').split('/').collect();
        let (kind, project, app, name) = match parts.as_slice() {
            ["apps", project, app] => (Kind::App, *project, None, (*app).to_owned()),
            ["pods", project, pod] => {
                let id = ProjectName::new(*project).ok().zip(PodName::new(*pod).ok());
                let seen = id.and_then(|(project, name)| {
                    self.state.control.observed.pod(&PodId { project, name })
                });
                if seen.is_some() {
                    // The engine has it still, and tells when it is gone.
                    return Ok(());
                }
                (Kind::Pod, *project, None, (*pod).to_owned())
            }
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
        if let Some(uid) = self.uids().remove(key) {
            data["metadata"]["uid"] = uid.into();
        }
        if let Some(app) = app {
            data["spec"] = serde_json::json!({ "app": app });
        }
        self.object("deleted", Some(revision), kind, Some(&project), &data)
            .await
    }

    /// As its own route answers it: with what is wished of it.
    async fn node(&self, name: &str) -> Result<(), Gone> {
        if !self.filter.wants(Kind::Node, None) {
            return Ok(());
        }
        match self.state.control.seen_node(name).await {
            Ok(node) => self.object("applied", None, Kind::Node, None, &node).await,
            // Gone by now: that is told by itself.
            Err(OperationError::NotFound { .. }) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, node = name, "what is wished of a node could not be read");
                Ok(())
            }
        }
    }

    async fn pod(&self, pod: Pod) -> Result<(), Gone> {
        let pod = view::pod(pod, self.filter.tenure.caller().role);
        let project = pod.metadata.project.as_ref();
        self.object("applied", None, Kind::Pod, project, &pod).await
    }

    /// As its own route answers it: a bare pod is what somebody asked for too.
    async fn observed_pod(&self, seen: &ObservedPod) -> Result<(), Gone> {
        if !self.filter.wants(Kind::Pod, Some(&seen.id.project)) {
            return Ok(());
        }
        match self.asked(&seen.id).await {
            Some(asked) => self.pod(merge(asked, Some(seen))).await,
            None => self.pod(as_object(seen)).await,
        }
    }

    /// The bare pod of this name that somebody asked for.
    async fn asked(&self, id: &PodId) -> Option<Pod> {
        let key = keys::pod(&id.project, &id.name);
        match self.state.control.objects.get::<PodSpec>(&key).await {
            Ok(asked) => asked,
            Err(error) => {
                tracing::warn!(%error, pod = %id, "a pod's record could not be read");
                None
            }
        }
    }

    async fn engine(&self, change: EngineEvent) -> Result<(), Gone> {
        match change {
            EngineEvent::Pod(pod) => self.observed_pod(&pod).await,
            EngineEvent::PodGone(id) => {
                if !self.filter.wants(Kind::Pod, Some(&id.project)) {
                    return Ok(());
                }
                if let Some(asked) = self.asked(&id).await {
                    // Asked for still: the engine makes it anew.
                    return self.pod(asked).await;
                }
                let mut data = serde_json::json!({ "kind": Kind::Pod, "metadata": { "name": id.name, "project": id.project } });
                let key = keys::pod(&id.project, &id.name);
                if let Some(uid) = self.uids().remove(&key) {
                    data["metadata"]["uid"] = uid.into();
                }
                self.object("deleted", None, Kind::Pod, Some(&id.project), &data)
                    .await
            }
            EngineEvent::Node(node) => self.node(&node.metadata.name).await,
            EngineEvent::NodeGone(name) => {
                let data = serde_json::json!({ "kind": Kind::Node, "metadata": { "name": name } });
                self.object("deleted", None, Kind::Node, None, &data).await
            }
            EngineEvent::Reset | EngineEvent::Synced => Ok(()),
        }
    }
}
