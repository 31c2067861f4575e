//! Kubernetes as Coracle's engine.

pub mod config;
pub mod rbac;

pub use config::KubernetesConfig;
