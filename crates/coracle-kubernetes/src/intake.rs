//! Objects come in, from watches and from the answers to our own requests.
//!
//! Theory of operation: an answer may be older than what a watch told already, and is left out then. Whatever a watch tells
//! makes the workload be looked at.

use std::sync::Arc;

use coracle_model::workload::WorkloadId;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::facts::Facts;
use crate::group::{Held, Kept};
use crate::state::{Core, version};

/// Where an object came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// A watch: in order.
    Watch,
    /// The answer to a request of ours.
    Answer,
}

impl Core {
    /// Takes in an object.
    pub(crate) fn take<K: Kept>(self: &Arc<Self>, object: K, from: From) {
        let meta = object.meta();
        let (Some(facts), Some(name)) = (self.own(meta), meta.name.clone()) else {
            return;
        };
        let id = facts.id();
        let version = version(meta.resource_version.as_deref());
        self.with(|state| {
            match from {
                From::Watch => state.saw(K::PART, version),
                // What a watch has told already may be gone again by now.
                From::Answer if state.has_seen(K::PART, version) => return,
                From::Answer => {}
            }
            let held = K::of(state.groups.entry(id.clone()).or_default());
            let before = held.get(&name);
            let same = before.filter(|before| before.live.meta().uid == object.meta().uid);
            if same.is_none_or(|before| before.version <= version) {
                let now = Held {
                    facts,
                    version,
                    deleting: same.is_some_and(|before| before.deleting),
                    struck: same.is_some_and(|before| before.struck),
                    reminded: same.and_then(|before| before.reminded),
                    drained: same.is_some_and(|before| before.drained),
                    exit: object
                        .exit()
                        .or_else(|| same.and_then(|before| before.exit.clone())),
                    live: Arc::new(object),
                };
                held.insert(name, now);
            }
            state.publish(&id);
        });
        self.touch();
        if from == From::Watch {
            self.reconcile(&id);
        }
    }

    /// Something is gone. Without a uid: whatever has this name.
    pub(crate) fn forget<K: Kept>(
        self: &Arc<Self>,
        id: &WorkloadId,
        name: &str,
        uid: Option<&str>,
    ) {
        self.with(|state| {
            if let Some(group) = state.groups.get_mut(id) {
                let held = K::of(group);
                let same = |held: &Held<K>| uid.is_none() || held.live.meta().uid.as_deref() == uid;
                if held.get(name).is_some_and(same) {
                    held.remove(name);
                }
            }
            if let Some(uid) = uid {
                state.warnings.remove(uid);
            }
            state.publish(id);
        });
        self.touch();
        self.reconcile(id);
    }

    /// The facts of an object of ours that is where it belongs: labels can be copied.
    pub(crate) fn own(&self, meta: &ObjectMeta) -> Option<Facts> {
        let facts = Facts::read(meta, &self.config.platform)?;
        let namespace = self.namespace(&facts.project).ok()?;
        (meta.namespace.as_deref() == Some(namespace.as_str())).then_some(facts)
    }
}
