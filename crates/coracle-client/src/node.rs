//! Nodes.

use coracle_model::node::{DrainMode, Node};
use http::Method;
use serde::Serialize;

use crate::Result;
use crate::client::Client;

#[derive(Serialize)]
struct NewDrain {
    mode: DrainMode,
}

/// The path of a node. Its name comes from a person or the engine: what a path cannot have in it is escaped.
pub(crate) fn path(node: &str) -> String {
    let mut path = "/nodes/".to_owned();
    for byte in node.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                path.push(char::from(byte));
            }
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
    path
}

impl Client {
    /// The nodes, with what they have and use.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        self.all("/nodes").await
    }

    /// A node.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn node(&self, node: &str) -> Result<Node> {
        self.get(&path(node)).await
    }

    /// Lets a node get no new pods.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn cordon_node(&self, node: &str) -> Result<Node> {
        let at = format!("{}/cordon", path(node));
        self.ordinary(self.request(Method::POST, &at)).await
    }

    /// Lets a node get new pods again. A drain of it ends.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn uncordon_node(&self, node: &str) -> Result<Node> {
        let at = format!("{}/uncordon", path(node));
        self.ordinary(self.request(Method::POST, &at)).await
    }

    /// Cordons a node and begins to move its pods away. [`Client::follow_node`] tells how far that is.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn drain_node(&self, node: &str, mode: DrainMode) -> Result<Node> {
        let at = format!("{}/drain", path(node));
        self.post(&at, &NewDrain { mode }).await
    }

    /// Ends the drain of a node. It stays cordoned.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn cancel_node_drain(&self, node: &str) -> Result<Node> {
        let at = format!("{}/drain", path(node));
        self.ordinary(self.request(Method::DELETE, &at)).await
    }
}
