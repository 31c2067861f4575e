//! Nodes.

use coracle_model::node::Node;

use crate::Result;
use crate::client::Client;

impl Client {
    /// The nodes, with what they have and use.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        self.all("/nodes").await
    }
}
