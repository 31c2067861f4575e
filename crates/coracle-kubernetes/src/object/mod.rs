//! What the API server is asked for. Pure: from wishes to objects in JSON.
//!
//! Theory of operation: objects are applied whole, by server-side apply with one field manager and never by force, so
//! they name only what the platform wants to own; the rest stays the cluster's and other people's.

mod project;
mod set;
mod template;

pub(crate) use project::{
    NETWORK_POLICY, PULL_SECRET, QUOTA, claim, namespace, network_policy, pull_secret, quota,
};
pub(crate) use set::{deployment, disruption_budget, job, resubmit, service};
pub(crate) use template::{CONTAINER, bare_pod, environment};
