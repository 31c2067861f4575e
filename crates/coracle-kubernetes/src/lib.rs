//! Kubernetes as Coracle's engine.
//!
//! Theory of operation: wishes (workloads) come in through [`KubernetesEngine`]'s [`coracle_engine::Engine`] and are kept
//! in memory; what exists is read from watches. A pure planner compares the two whenever either changed and names what
//! to do; one task at most is at a workload. All that a restart of this process needs stands in labels and annotations of
//! the cluster's objects, and everything is written by server-side apply, without force.
//!
//! | module | what is in it |
//! |---|---|
//! | [`config`] | what the engine is told once |
//! | [`rbac`] | what it must be allowed |
//! | `engine` | the port's methods |
//! | `client`, `deadline`, `discovery` | the API server: errors made from its answers, how long it may be silent, what it has |
//! | `facts`, `naming`, `quantity` | what stands on objects, how they are called, how they count |
//! | `object` | from wishes to objects (pure) |
//! | `phase` | from a pod to its status (pure) |
//! | `plan` | from wish and objects to steps (pure) |
//! | `told`, `changed` | from a workload to what watchers are told of it, and what somebody else changed (pure) |
//! | `state`, `group` | wishes and objects: of all workloads, and of one |
//! | `intake`, `reconcile`, `operate` | objects come in; what follows; the steps |
//! | `observe` | watches |
//! | `project`, `volume` | namespaces, claims |
//! | `logs`, `session`, `stats`, `node` | what is asked of running pods, and of nodes |
//! | [`diagnosis`], [`stop_pods`] | without an engine: what is wrong; everything stopped |
//! | `image` | images, asked from their registries |
//! | [`build`] | images, built by Jobs |

pub mod build;
mod changed;
mod client;
pub mod config;
mod deadline;
mod describe;
pub mod diagnosis;
mod discovery;
mod engine;
mod facts;
mod group;
mod halt;
mod image;
mod intake;
mod logs;
mod naming;
mod node;
mod object;
mod observe;
mod operate;
mod orphan;
mod phase;
mod plan;
mod project;
mod quantity;
pub mod rbac;
mod reconcile;
mod session;
#[cfg(test)]
mod simulated;
mod state;
mod stats;
mod told;
mod usage;
mod volume;

pub use build::config::{BuildConfig, BuildTool, Transport};
pub use config::KubernetesConfig;
pub use engine::KubernetesEngine;
pub use halt::stop_pods;
