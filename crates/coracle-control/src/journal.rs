//! What happened: events for people, and the audit log.

use chrono::Utc;
use coracle_model::event::{Event, EventSpec};
use coracle_model::name::ProjectName;
use coracle_model::object::{Kind, List};

use crate::error::OperationError;
use crate::keys;
use crate::objects::{Objects, new_object, new_uid};

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user, by name.
    User(String),
    /// A part of the platform, such as `release controller`.
    Platform(&'static str),
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(name) => f.write_str(name),
            Self::Platform(part) => f.write_str(part),
        }
    }
}

/// Records events. Clones share the store.
#[derive(Clone, Debug)]
pub struct Journal {
    objects: Objects,
}

impl Journal {
    /// In `objects`.
    #[must_use]
    pub fn new(objects: Objects) -> Self {
        Self { objects }
    }

    /// Records that `actor` did `action` to an object. A failure to record is logged and does not undo what
    /// was done.
    pub async fn record(
        &self,
        actor: &Actor,
        action: &str,
        project: Option<&ProjectName>,
        what: (Kind, &str),
        message: impl Into<String>,
    ) {
        let recorded = self.try_record(actor, action, project, what, message).await;
        if let Err(error) = recorded {
            tracing::warn!(%error, "an event could not be recorded");
        }
    }

    /// The same for who does something about it when it was not recorded.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn try_record(
        &self,
        actor: &Actor,
        action: &str,
        project: Option<&ProjectName>,
        (kind, object): (Kind, &str),
        message: impl Into<String>,
    ) -> Result<(), OperationError> {
        let message = message.into();
        tracing::info!(%actor, action, project = project.map(tracing::field::display), object, message, "event");
        let spec = EventSpec {
            actor: actor.to_string(),
            action: action.to_owned(),
            kind,
            object: object.to_owned(),
            message,
        };
        let unique = &new_uid()[..8];
        let event: Event = new_object(unique, project.cloned(), spec);
        let key = keys::event(Utc::now(), unique);
        self.objects.create(key, event).await.map(drop)
    }

    /// Events, the newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn page(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<List<Event>, OperationError> {
        self.objects.page(keys::EVENTS, after, limit).await
    }
}
