//! The loop of one follower: everything, or what changed since it was last here, and then each change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::response::sse::Event;
use coracle_model::object::Kind;
use coracle_store::{Store, StoreError, WatchStream};
use futures::StreamExt as _;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::filter::{Audience, Filter, Samples};
use super::stored::Telling;
use super::usage;
use crate::state::ApiState;
use crate::tenure::Change;

/// The follower went away, or may not follow any more.
pub(super) struct Gone;

pub(super) struct Follower {
    pub(super) state: ApiState,
    pub(super) filter: Filter,
    out: mpsc::Sender<Event>,
    /// By key: what is to be told when the object is gone.
    uids: Mutex<HashMap<String, String>>,
}

impl Follower {
    pub(super) fn new(state: ApiState, filter: Filter, out: mpsc::Sender<Event>) -> Self {
        Self {
            state,
            filter,
            out,
            uids: Mutex::default(),
        }
    }

    pub(super) async fn run(&self, mut last_seen: Option<u64>) -> Result<(), Gone> {
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
        let mut samples = match self.filter.samples() {
            Samples::Told => Some(self.state.control.usage.samples()),
            Samples::Left => None,
        };
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
        // The newest sample is told at once.
        if let Some(samples) = &mut samples {
            samples.mark_changed();
        }
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(coracle_store::Event::Put(entry))) => {
                        self.check_rights(&entry.key, Change::Put)?;
                        self.entry(&entry, Telling::Change).await?;
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
                sample = usage::next(&mut samples) => self.sample(&sample).await?,
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
            self.entry(entry, Telling::Whole).await?;
        }
        let changes = store.watch("/", Some(listing.revision + 1)).await;
        Ok(changes.map(|changes| (listing.revision, changes)))
    }

    /// In the order of writes: nothing is told of what was written after the rights ended.
    fn check_rights(&self, key: &str, change: Change) -> Result<(), Gone> {
        if self.filter.tenure().ends_with(key, change) {
            return Err(Gone);
        }
        Ok(())
    }

    pub(super) fn uids(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.uids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn send(&self, event: Event) -> Result<(), Gone> {
        self.out.send(event).await.map_err(|_closed| Gone)
    }

    /// Tells `data` to a follower who wants it.
    pub(super) async fn object<T: Serialize>(
        &self,
        what: &'static str,
        revision: Option<u64>,
        kind: Kind,
        audience: &Audience,
        data: &T,
    ) -> Result<(), Gone> {
        if !self.filter.wants(kind, audience) {
            return Ok(());
        }
        match serde_json::to_string(data) {
            Ok(data) => self.tell(what, revision, data).await,
            Err(error) => {
                tracing::error!(%error, "an event could not be written");
                Ok(())
            }
        }
    }

    /// Tells what was made for this follower.
    pub(super) async fn tell(
        &self,
        what: &'static str,
        revision: Option<u64>,
        data: String,
    ) -> Result<(), Gone> {
        let mut event = Event::default().event(what).data(data);
        if let Some(revision) = revision {
            event = event.id(revision.to_string());
        }
        self.send(event).await
    }
}
