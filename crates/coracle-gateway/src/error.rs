//! Why a gateway could not start.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why [`crate::run`] ended with a fault. What goes wrong later is logged and mended, or answered to the client.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address for users' requests could not be taken.
    #[error("cannot listen on {addr}: is another program using it?")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The state folder could not be made.
    #[error("cannot make the gateway's state folder {}", path.display())]
    StateDir {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The address for probes could not be taken.
    #[error("cannot listen on {addr} for probes: is another program using it?")]
    Health {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The control plane's URL is not one.
    #[error("control plane URL {url:?}: use http://HOST:PORT")]
    ControlUrl {
        /// What was given.
        url: String,
    },
    /// There is no control plane to ask.
    #[error("no control plane URL was given: use http://HOST:PORT, one or several")]
    NoControlUrl,
    /// The gateway's id cannot be part of a URL.
    #[error("gateway id {id:?}: use 1 to 64 letters, digits, '.', '_' and '-'")]
    Id {
        /// What was given.
        id: String,
    },
}
