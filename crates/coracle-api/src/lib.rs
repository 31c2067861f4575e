//! Coracle's HTTP API.
//!
//! Theory of operation: a request passes the layers of [`server`] from the outside in: request id, log,
//! panics into problems, then [`access`], which looks the route up in one table and lets nobody through who
//! is not allowed there; a route that is not in the table is closed to everybody. Handlers then only parse
//! what they are given, call one operation of `coracle_control`, and answer. One file per resource.

mod access;
mod activity;
mod app;
mod archive;
mod awaited;
mod build;
mod build_source;
mod caller;
mod connect;
mod connection;
mod credentials;
mod dashboard;
mod describe;
mod env;
mod error;
mod events;
mod exec;
mod export;
mod extract;
mod gateway;
mod health;
mod image;
mod import;
mod logs;
mod metrics;
mod node;
mod openapi;
mod page;
mod password;
mod pod;
mod project;
mod promote;
mod readiness;
mod registry;
mod registry_access;
mod release;
mod routes;
mod server;
mod session;
mod settings;
mod socket;
mod source;
mod state;
mod system;
mod tenure;
mod throttle;
mod token;
mod tunnel;
mod usage;
mod user;
mod view;
mod volume;
mod waiting;

pub use awaited::{Awaited, Reason};
pub use connect::places::ConnectLimits;
pub use connection::ConnectionLimits;
pub use credentials::{Authentication, PlatformCredential};
pub use dashboard::{Asset, Dashboard};
pub use image::BuildTags;
pub use password::{PasswordError, hash_password};
pub use registry_access::RegistryAccess;
pub use server::{ServeError, serve, serve_registry, serve_within};
pub use state::{ApiState, StatusSource};
pub use user::{FirstAdmin, ensure_admin};
pub use waiting::serve_waiting;
