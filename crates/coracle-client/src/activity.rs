//! What happened lately.

use coracle_model::event::Event;
use coracle_model::object::List;

use crate::Result;
use crate::client::Client;
use crate::page::Page;

impl Client {
    /// What happened, the newest first, one page at a time: it may be long.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn activity(&self, page: &Page) -> Result<List<Event>> {
        self.page("/activity", page).await
    }
}
