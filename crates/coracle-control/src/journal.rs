//! What happened: events for people, and the audit log.

use chrono::Utc;
use coracle_model::event::{Event, EventSpec};
use coracle_model::name::ProjectName;
use coracle_model::object::{Kind, List};
use coracle_store::Page;

use crate::error::OperationError;
use crate::keys::{self, EVENTS};
use crate::objects::{Objects, decode_object, new_object, new_uid};

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

/// The most events that are looked at for one page.
const MOST_LOOKED_AT: usize = 5000;

/// Events that are read at once.
const PAGE: usize = 500;

/// In which order events are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    Newest,
    /// The oldest first.
    Oldest,
}

/// Which events are wanted.
pub struct Wanted<'a> {
    /// Behind this cursor.
    pub after: Option<&'a str>,
    /// No more than so many; at least 1.
    pub limit: usize,
    /// In this order.
    pub order: Order,
    /// Those of which this holds.
    pub which: &'a (dyn Fn(&Event) -> bool + Sync),
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
        self.objects.page(EVENTS, after, limit).await
    }

    /// The events that `wanted` says. Its cursor is the key of the last one; a page may be shorter than its limit and still
    /// have a next one, because no more than so many events are looked at for it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, wanted: Wanted<'_>) -> Result<List<Event>, OperationError> {
        match wanted.order {
            Order::Newest => self.newest(&wanted).await,
            Order::Oldest => self.oldest(&wanted).await,
        }
    }

    async fn newest(&self, wanted: &Wanted<'_>) -> Result<List<Event>, OperationError> {
        let store = self.objects.store();
        let mut items = Vec::new();
        let mut after = wanted.after.map(|after| format!("{EVENTS}{after}"));
        let mut looked = 0;
        loop {
            let page = Page {
                after: after.take(),
                limit: PAGE,
            };
            let listing = store.list(EVENTS, page).await?;
            for entry in &listing.entries {
                looked += 1;
                let event = decode_object::<EventSpec>(entry)?;
                if (wanted.which)(&event) {
                    items.push(event);
                }
                let last = listing.next.is_none() && listing.entries.last() == Some(entry);
                if items.len() == wanted.limit || looked == MOST_LOOKED_AT {
                    let next = (!last).then(|| cursor(&entry.key));
                    return Ok(List { items, next });
                }
            }
            match listing.next {
                Some(next) => after = Some(next),
                None => return Ok(List { items, next: None }),
            }
        }
    }

    /// Keys are in the order of the newest, so all of them are read: they are bounded by their retention.
    async fn oldest(&self, wanted: &Wanted<'_>) -> Result<List<Event>, OperationError> {
        let all = self.objects.store().list_all(EVENTS).await?.entries;
        let after = wanted.after.map(|after| format!("{EVENTS}{after}"));
        let mut rest = all
            .iter()
            .rev()
            .filter(|entry| after.as_ref().is_none_or(|after| entry.key < *after))
            .peekable();
        let mut items = Vec::new();
        while let Some(entry) = rest.next() {
            let event = decode_object::<EventSpec>(entry)?;
            if (wanted.which)(&event) {
                items.push(event);
            }
            if items.len() == wanted.limit {
                let next = rest.peek().map(|_| cursor(&entry.key));
                return Ok(List { items, next });
            }
        }
        Ok(List { items, next: None })
    }
}

fn cursor(key: &str) -> String {
    key.strip_prefix(EVENTS).unwrap_or(key).to_owned()
}
