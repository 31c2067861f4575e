//! Coracle's data plane: carries users' requests to pods.
//!
//! A process of its own that knows nothing of the store or of engines: it gets a route table from the control plane,
//! keeps the last one on disk, and serves without the control plane.
//!
//! | module | what is in it |
//! |---|---|
//! | `config`, `error`, `run` | how a gateway is started and ended |
//! | `listen`, `files`, `connection` | the socket and room for more; connections from clients, their limits and their end |
//! | `health` | whether this process lives and is ready, for probes |
//! | `service` | **the layers of a request in order, each with its reason: begin reading here** |
//! | `request_id`, `host`, `headers` | what is read and changed of a request before a pod sees it |
//! | `refusal`, `page` | answers of the gateway's own |
//! | `table`, `balance`, `ejection` | which pod gets a request, and the law of draining |
//! | `retry`, `forward`, `tunnel` | bringing it there |
//! | `endpoint`, `pod_connection`, `body`, `sweep` | pods' connections, and what flows over them |
//! | `control`, `disk`, `signals`, `traffic` | the talk with the control plane; what is kept and counted |

mod balance;
mod body;
mod config;
mod connection;
mod control;
mod disk;
mod ejection;
mod endpoint;
mod error;
mod files;
mod forward;
mod gateway;
mod headers;
mod health;
mod host;
mod listen;
mod page;
mod pod_connection;
mod refusal;
mod request_id;
mod retry;
mod run;
mod service;
mod signals;
mod sweep;
mod table;
mod traffic;
mod tunnel;

pub use config::{ControlEndpoint, GatewayConfig, Limits, TokenSource};
pub use coracle_task::CancellationToken;
pub use error::GatewayError;
pub use run::run;
