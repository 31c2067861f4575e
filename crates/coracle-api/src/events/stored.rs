//! What the store tells: records and their changes.

use coracle_control::keys;
use coracle_control::objects::decode_object;
use coracle_model::event::EventSpec;
use coracle_model::name::{PodName, ProjectName};
use coracle_model::object::Kind;
use coracle_model::user::Role;
use coracle_model::workload::PodId;
use coracle_store::Entry;
use serde::Deserialize;
use serde_json::json;

use super::filter::Audience;
use super::follower::{Follower, Gone};
use super::kinds::{Eye, JOURNALED, Place, stored};

/// Why a record is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// It exists.
    Whole,
    /// It was written.
    Change,
}

impl Follower {
    /// Remembers the uid of an object that may be told of when it is gone.
    pub(super) fn learn(&self, entry: &Entry) {
        #[derive(Deserialize)]
        struct Record {
            object: Named,
        }
        #[derive(Deserialize)]
        struct Named {
            metadata: Who,
        }
        #[derive(Deserialize)]
        struct Who {
            uid: String,
        }
        let Some((stored, rest)) = stored(&entry.key) else {
            return;
        };
        let who = stored.place.who(stored.prefix, rest);
        if !who.is_some_and(|who| self.filter.wants(stored.kind, &who.audience)) {
            return;
        }
        if let Ok(Record { object }) = serde_json::from_slice::<Record>(&entry.value) {
            self.uids().insert(entry.key.clone(), object.metadata.uid);
        }
    }

    pub(super) async fn entry(&self, entry: &Entry, telling: Telling) -> Result<(), Gone> {
        let id = (telling == Telling::Change).then_some(entry.modified);
        if let Some(name) = entry.key.strip_prefix(keys::NODES) {
            // What is wished of it is part of it. What it is, the engine tells: all nodes follow what is stored.
            return match telling {
                Telling::Change => self.node(name).await,
                Telling::Whole => Ok(()),
            };
        }
        let Some((stored, rest)) = stored(&entry.key) else {
            return Ok(());
        };
        if stored.place == Place::Journal {
            return match telling {
                Telling::Change => self.happened(entry).await,
                Telling::Whole => Ok(()),
            };
        }
        self.learn(entry);
        let Some(who) = stored.place.who(stored.prefix, rest) else {
            return Ok(());
        };
        if !self.filter.wants(stored.kind, &who.audience) {
            return Ok(());
        }
        let eye = Eye {
            role: self.filter.caller().role,
            state: &self.state,
        };
        match (stored.show)(entry, &eye) {
            Ok(data) => self.tell("applied", id, data).await,
            Err(error) => {
                tracing::error!(%error, key = entry.key, "a record could not be read");
                Ok(())
            }
        }
    }

    /// What happened, and what it happened to where there is no record of that.
    async fn happened(&self, entry: &Entry) -> Result<(), Gone> {
        if !self.filter.wants_kind(Kind::Event)
            && !JOURNALED.iter().any(|kind| self.filter.wants_kind(*kind))
        {
            return Ok(());
        }
        let event = match decode_object::<EventSpec>(entry) {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(%error, key = entry.key, "a record could not be read");
                return Ok(());
            }
        };
        let audience = match &event.metadata.project {
            Some(project) => Audience::Project(project.clone()),
            None => Audience::Platform(Role::Admin),
        };
        let id = Some(entry.modified);
        if JOURNALED.contains(&event.spec.kind) {
            let notice = json!({
                "kind": event.spec.kind,
                "metadata": { "name": event.spec.object, "project": event.metadata.project },
            });
            self.object("applied", id, event.spec.kind, &audience, &notice)
                .await?;
        }
        self.object("applied", id, Kind::Event, &audience, &event)
            .await
    }

    pub(super) async fn deleted(&self, key: &str, revision: u64) -> Result<(), Gone> {
        if let Some(name) = key.strip_prefix(keys::NODES) {
            return self.node(name).await;
        }
        let Some((stored, rest)) = stored(key) else {
            return Ok(());
        };
        let Some(who) = stored.place.who(stored.prefix, rest) else {
            return Ok(());
        };
        if stored.kind == Kind::Pod && self.runs(rest) {
            // The engine has it still, and tells when it is gone.
            return Ok(());
        }
        let mut data = json!({ "kind": stored.kind, "metadata": { "name": who.name } });
        // A project is seen by who sees what is in it, but is in none itself.
        if let Audience::Project(project) = &who.audience
            && stored.kind != Kind::Project
        {
            data["metadata"]["project"] = project.as_str().into();
        }
        if let Some(uid) = self.uids().remove(key) {
            data["metadata"]["uid"] = uid.into();
        }
        if let Some(app) = who.app {
            data["spec"] = json!({ "app": app });
        }
        self.object("deleted", Some(revision), stored.kind, &who.audience, &data)
            .await
    }

    /// Does the engine have the pod `PROJECT/NAME`?
    fn runs(&self, rest: &str) -> bool {
        let Some((project, name)) = rest.split_once('/') else {
            return false;
        };
        let id = ProjectName::new(project).ok().zip(PodName::new(name).ok());
        id.is_some_and(|(project, name)| {
            let observed = &self.state.control.observed;
            observed.pod(&PodId { project, name }).is_some()
        })
    }
}
