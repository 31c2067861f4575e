//! Docker Engine as Coracle's engine.
//!
//! Theory of operation: wishes (workloads) come in through [`DockerEngine`]'s [`coracle_engine::Engine`] and are
//! kept in memory; what exists is read from Docker (a list at the start, its events afterwards, a slow rescan
//! as a safety net). A pure planner compares the two whenever either changed and names what to do; each action
//! is one supervised task on one pod. Nothing but wishes and probe results is kept in memory only: all that a
//! restart of this process needs stands in the containers' labels.
//!
//! | module | what is in it |
//! |---|---|
//! | [`config`] | what the engine is told once |
//! | `engine` | the port's methods |
//! | `client` | the connection to the daemon, and errors made from its answers |
//! | `facts` | what stands in a container's labels |
//! | `naming` | names of containers, networks and volumes |
//! | `container` | a container asked for, and a container read |
//! | `state` | wishes and pods, and what watchers are told |
//! | `pod` | a pod as it is known |
//! | `reconcile` | changes of what is known, and what follows from them |
//! | `phase` | from facts to a pod's status (pure) |
//! | `plan` | from wish and pods to actions (pure) |
//! | `operate`, `restart` | the actions: create, start, stop, restart |
//! | `observe` | what Docker tells: list, events, rescan |
//! | `probe` | readiness and liveness, asked from the host |
//! | `subnet`, `network` | addresses and networks of projects |
//! | `volume` | volumes |
//! | `cordon` | whether new pods are made, kept over restarts |
//! | `logs`, `session`, `raw`, `stats`, `node` | what is asked of running pods, and of the machine |
//! | `usage` | what all of them use, from the kernel's own files |
//! | `image`, `reference`, `build` | images |
//! | `halt` | all pods stopped, when the platform is taken down |

mod build;
mod client;
pub mod config;
mod container;
mod cordon;
mod describe;
mod engine;
mod facts;
mod halt;
mod image;
mod logs;
mod naming;
mod network;
mod node;
mod observe;
mod operate;
mod phase;
mod plan;
mod pod;
mod probe;
mod raw;
mod reconcile;
mod reference;
mod restart;
mod session;
mod state;
mod stats;
mod storage;
mod subnet;
mod usage;
mod volume;

pub use config::{CacheLimit, DockerConfig};
pub use engine::DockerEngine;
pub use halt::stop_pods;
pub use storage::Storage;
