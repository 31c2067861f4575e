//! Does this process lead?
//!
//! Theory of operation: of several control planes on one store each serves the API, and one, who holds the
//! election's key, runs the controllers and feeds the gateways. Whoever asks whether this one does asks here. A
//! control plane that is alone with its store leads always.

use std::sync::Arc;

use coracle_store::Leadership;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What stands at [`keys::LEADER`](crate::keys::LEADER), for people who look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// The name of the process that leads.
    pub name: String,
}

#[derive(Clone, Debug)]
enum Place {
    Alone,
    Following,
    Leading(Leadership),
}

/// Does this process lead? Clones share the answer.
#[derive(Clone, Debug)]
pub struct Leading(Arc<watch::Sender<Place>>);

impl Leading {
    /// A control plane that is alone with its store.
    #[must_use]
    pub fn alone() -> Self {
        Self(Arc::new(watch::Sender::new(Place::Alone)))
    }

    /// One of several, which does not lead until it says so.
    #[must_use]
    pub fn one_of_several() -> Self {
        Self(Arc::new(watch::Sender::new(Place::Following)))
    }

    /// Takes note that this process leads.
    pub fn begin(&self, leadership: Leadership) {
        self.0.send_replace(Place::Leading(leadership));
    }

    /// Takes note that it does not lead any more.
    pub fn end(&self) {
        self.0.send_replace(Place::Following);
    }

    /// May this process act now?
    #[must_use]
    pub fn holds(&self) -> bool {
        match &*self.0.borrow() {
            Place::Alone => true,
            Place::Following => false,
            Place::Leading(leadership) => leadership.holds(),
        }
    }

    /// Is it one of several?
    #[must_use]
    pub fn is_one_of_several(&self) -> bool {
        !matches!(*self.0.borrow(), Place::Alone)
    }

    /// Waits until it does not lead any more.
    pub async fn ended(&self) {
        let leads = |place: &Place| matches!(place, Place::Alone | Place::Leading(_));
        // The sender lives as long as `self`.
        drop(self.0.subscribe().wait_for(|place| !leads(place)).await);
    }
}
