//! The objects of a simulated API server, and who is told of their changes.
//!
//! Theory of operation: what changes, changes under one lock, in which it gets its version and is told; so a watch that
//! begins under the same lock misses nothing and hears nothing twice.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use super::path::{Selector, Target};
use super::{Fault, log, status};

pub(super) struct World {
    pub(super) inner: Mutex<Inner>,
    pub(super) changes: broadcast::Sender<(Target, Value)>,
    pub(super) version: &'static str,
    pub(super) groups: Value,
}

#[derive(Default)]
pub(super) struct Inner {
    revision: u64,
    pub(super) objects: BTreeMap<Target, Value>,
    /// All that ever happened, with the version that it made.
    history: Vec<(u64, Target, Value)>,
    pub(super) faults: Vec<(&'static str, Fault)>,
    pub(super) asked: Vec<String>,
    pub(super) logs: log::Logs,
    pub(super) documents: BTreeMap<String, Value>,
}

impl World {
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().unwrap())
    }

    pub(super) fn put(&self, target: Target, change: Value) -> Value {
        self.with(|inner| {
            inner.revision += 1;
            let revision = inner.revision;
            let kind = if inner.objects.contains_key(&target) {
                "MODIFIED"
            } else {
                "ADDED"
            };
            let object = inner.objects.entry(target.clone()).or_insert_with(|| {
                json!({ "metadata": {
                    "name": target.name, "uid": format!("uid-{revision}"),
                    "creationTimestamp": "2026-01-01T00:00:00Z",
                }})
            });
            merge(object, change);
            if let Some(namespace) = &target.namespace {
                object["metadata"]["namespace"] = json!(namespace);
            }
            object["metadata"]["resourceVersion"] = json!(revision.to_string());
            let object = object.clone();
            self.tell(inner, target, json!({ "type": kind, "object": object }));
            object
        })
    }

    pub(super) fn create(&self, mut target: Target, object: Value) -> Response {
        target.name = object["metadata"]["name"].as_str().map(str::to_owned);
        if self.with(|inner| inner.objects.contains_key(&target)) {
            return status(StatusCode::CONFLICT, "AlreadyExists", "it exists");
        }
        axum::Json(self.put(target, object)).into_response()
    }

    /// Is an object the one that whoever deletes it means?
    pub(super) fn is_meant(&self, target: &Target, options: &[u8]) -> bool {
        let options: Value = serde_json::from_slice(options).unwrap_or_default();
        let uid = &options["preconditions"]["uid"];
        self.with(|inner| match inner.objects.get(target) {
            Some(object) => uid.is_null() || object["metadata"]["uid"] == *uid,
            None => true,
        })
    }

    pub(super) fn delete(&self, target: &Target) -> Option<Value> {
        self.with(|inner| {
            let inside =
                |other: &Target| target.resource == "namespaces" && other.namespace == target.name;
            let gone: Vec<Target> = inner.objects.keys().cloned().collect();
            let mut last = None;
            for one in gone.into_iter().filter(|o| inside(o) || o == target) {
                inner.revision += 1;
                let mut object = inner.objects.remove(&one)?;
                object["metadata"]["resourceVersion"] = json!(inner.revision.to_string());
                self.tell(inner, one, json!({ "type": "DELETED", "object": object }));
                last = Some(object);
            }
            last
        })
    }

    fn tell(&self, inner: &mut Inner, target: Target, event: Value) {
        inner
            .history
            .push((inner.revision, target.clone(), event.clone()));
        let _nobody = self.changes.send((target, event));
    }

    pub(super) fn list(&self, target: &Target, selector: &Selector) -> Value {
        self.with(|inner| {
            let items: Vec<&Value> = inner
                .objects
                .iter()
                .filter(|(of, object)| target.holds(of) && selector.fits(object))
                .map(|(_, object)| object)
                .collect();
            let revision = inner.revision.to_string();
            json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": revision }, "items": items })
        })
    }

    /// What has changed since a version, and what changes from now on.
    pub(super) fn watch(&self, target: Target, selector: Selector, since: u64) -> Response {
        let (before, after) = self.with(|inner| {
            let missed = inner
                .history
                .iter()
                .filter(|(revision, ..)| *revision > since);
            let missed: Vec<_> = missed
                .map(|(_, of, event)| (of.clone(), event.clone()))
                .collect();
            (missed, self.changes.subscribe())
        });
        let after = BroadcastStream::new(after).map(Result::unwrap);
        let all = futures::stream::iter(before).chain(after);
        let lines = all.filter_map(move |(of, event)| {
            let fits = target.holds(&of) && selector.fits(&event["object"]);
            let line = fits.then(|| Ok::<_, Infallible>(Bytes::from(format!("{event}\n"))));
            std::future::ready(line)
        });
        Body::from_stream(lines).into_response()
    }
}

/// Merges as `application/merge-patch+json` does; server-side apply comes close enough.
fn merge(into: &mut Value, change: Value) {
    let Value::Object(change) = change else {
        *into = change;
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in change {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(&key);
        } else {
            merge(&mut into[key], value);
        }
    }
}
