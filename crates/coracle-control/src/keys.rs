//! Where each object is in the store.
//!
//! Names are parsed types without `/`, so a key has one meaning only. Numbers are padded, so that key order
//! is their order; events are keyed by how far they lie from the end of time, so that the newest come first.

use chrono::{DateTime, Utc};
use coracle_model::name::{AppName, Hostname, PodName, ProjectName, TokenName, UserName};
use coracle_model::release::ReleaseNumber;
use coracle_model::source::SourceId;

/// All projects.
pub const PROJECTS: &str = "/projects/";
/// All apps of all projects.
pub const APPS: &str = "/apps/";
/// All builds of all apps.
pub const BUILDS: &str = "/builds/";
/// All sources of all projects.
pub const SOURCES: &str = "/sources/";
/// All releases of all apps.
pub const RELEASES: &str = "/releases/";
/// All bare pods.
pub const PODS: &str = "/pods/";
/// What is asked of pods that no record stands for.
pub const POD_ACTIONS: &str = "/pod-actions/";
/// All nodes that somebody wished something of.
pub const NODES: &str = "/nodes/";
/// All claims to host names.
pub const DOMAINS: &str = "/domains/";
/// All users.
pub const USERS: &str = "/users/";
/// All tokens.
pub const TOKENS: &str = "/tokens/";
/// All events.
pub const EVENTS: &str = "/events/";
/// Upper bound of the route generations that were ever given out.
pub const ROUTE_GENERATION: &str = "/system/route-generation";

/// The registry, and how its collection is.
pub const REGISTRY: &str = "/system/registry";

/// Who leads, among several control planes on one store.
pub const LEADER: &str = "/system/leader";
/// Up to which revision all gateways have the routes.
pub const SERVED: &str = "/system/served";
/// What all control planes of one store have in common.
pub const PLATFORM: &str = "/system/platform";

/// A project.
#[must_use]
pub fn project(project: &ProjectName) -> String {
    format!("{PROJECTS}{project}")
}

/// The apps of a project.
#[must_use]
pub fn apps(project: &ProjectName) -> String {
    format!("{APPS}{project}/")
}

/// An app.
#[must_use]
pub fn app(project: &ProjectName, app: &AppName) -> String {
    format!("{APPS}{project}/{app}")
}

/// The sources of a project.
#[must_use]
pub fn sources(project: &ProjectName) -> String {
    format!("{SOURCES}{project}/")
}

/// A source.
#[must_use]
pub fn source(project: &ProjectName, id: &SourceId) -> String {
    format!("{SOURCES}{project}/{id}")
}

/// With what the repository of a source is fetched, sealed.
#[must_use]
pub fn source_access(project: &ProjectName, id: &SourceId) -> String {
    format!("/source-access/{project}/{id}")
}

/// The builds of an app.
#[must_use]
pub fn builds(project: &ProjectName, app: &AppName) -> String {
    format!("{BUILDS}{project}/{app}/")
}

/// A build.
#[must_use]
pub fn build(project: &ProjectName, app: &AppName, number: u32) -> String {
    format!("{BUILDS}{project}/{app}/{number:010}")
}

/// The releases of an app.
#[must_use]
pub fn releases(project: &ProjectName, app: &AppName) -> String {
    format!("{RELEASES}{project}/{app}/")
}

/// A release.
#[must_use]
pub fn release(project: &ProjectName, app: &AppName, number: ReleaseNumber) -> String {
    format!("{RELEASES}{project}/{app}/{:010}", number.0)
}

/// The bare pods of a project.
#[must_use]
pub fn pods(project: &ProjectName) -> String {
    format!("{PODS}{project}/")
}

/// A bare pod.
#[must_use]
pub fn pod(project: &ProjectName, pod: &PodName) -> String {
    format!("{PODS}{project}/{pod}")
}

/// What is asked of a pod.
#[must_use]
pub fn pod_action(project: &ProjectName, pod: &PodName) -> String {
    format!("{POD_ACTIONS}{project}/{pod}")
}

/// What is wished of a node.
#[must_use]
pub fn node(node: &str) -> String {
    format!("{NODES}{node}")
}

/// The claim to a host name.
#[must_use]
pub fn domain(host: &Hostname) -> String {
    format!("{DOMAINS}{host}")
}

/// A user.
#[must_use]
pub fn user(user: &UserName) -> String {
    format!("{USERS}{user}")
}

/// With what a project logs in to the registry.
#[must_use]
pub fn registry_access(project: &ProjectName) -> String {
    format!("/registry-access/{project}")
}

/// The hash of a user's password.
#[must_use]
pub fn credential(user: &UserName) -> String {
    format!("/credentials/{user}")
}

/// The tokens of a user.
#[must_use]
pub fn tokens(user: &UserName) -> String {
    format!("{TOKENS}{user}/")
}

/// A token.
#[must_use]
pub fn token(user: &UserName, token: &TokenName) -> String {
    format!("{TOKENS}{user}/{token}")
}

/// From the hash of a token's secret to the token.
#[must_use]
pub fn token_hash(hash_hex: &str) -> String {
    format!("/token-hashes/{hash_hex}")
}

/// From a token to the hash of its secret, so that both go together.
#[must_use]
pub fn token_hash_by_name(user: &UserName, token: &TokenName) -> String {
    format!("/tokens-by-name/{user}/{token}")
}

/// What administrators set for the whole platform.
pub const SETTINGS: &str = "/settings/platform";

/// An event of a project, or of the whole platform.
#[must_use]
pub fn event(at: DateTime<Utc>, unique: &str) -> String {
    let from_the_end = i64::MAX - at.timestamp_micros();
    format!("{EVENTS}{from_the_end:020}-{unique}")
}
