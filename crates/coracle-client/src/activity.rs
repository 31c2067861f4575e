//! What happened lately.

use coracle_model::event::Event;
use coracle_model::name::ProjectName;
use coracle_model::object::{Kind, List};
use http::Method;
use serde::Serialize;

use crate::Result;
use crate::client::Client;
use crate::page::Page;

/// What of all that happened.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ActivityQuery {
    /// `oldest` first instead of the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Of this project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    /// Of objects of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Of this object, and what is its own: of an app its builds and releases, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// By this user or part of the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}

/// In which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The newest first.
    Newest,
    /// The oldest first.
    Oldest,
}

impl Client {
    /// The same, of some of it.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn activity_of(&self, query: &ActivityQuery, page: &Page) -> Result<List<Event>> {
        let request = self.request(Method::GET, "/activity").query(query);
        self.ordinary(request.query(page)).await
    }

    /// What happened, the newest first, one page at a time: it may be long.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn activity(&self, page: &Page) -> Result<List<Event>> {
        self.page("/activity", page).await
    }
}
