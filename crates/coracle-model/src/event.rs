//! Events: what happened, who did it, and to what. They are the audit log too.

use serde::{Deserialize, Serialize};

use crate::object::{Kind, Of, Spec};

/// Something that happened. Its `metadata.created` is when.
pub type Event = Of<EventSpec>;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventSpec {
    /// The user or part of the platform that did it, such as `admin` or `release controller`.
    pub actor: String,
    /// What was done, such as `app.scaled` or `release.failed`.
    pub action: String,
    /// The sort of object it was done to.
    pub kind: Kind,
    /// That object's name (with its app, such as `hello/v3`, for builds and releases).
    pub object: String,
    /// In plain words.
    pub message: String,
}

/// Nothing more is known of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventStatus {}

impl Spec for EventSpec {
    const KIND: Kind = Kind::Event;
    type Status = EventStatus;
}
