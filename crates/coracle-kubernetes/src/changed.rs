//! What somebody else has made of a Deployment. Pure.
//!
//! Theory of operation: the cluster keeps who manages which field. What another manager has set is said, and left as it is.

use k8s_openapi::api::apps::v1::Deployment;

use crate::facts::{MANAGER, REPLICAS, annotation};

/// Managers that act for the cluster itself.
const CLUSTER: [&str; 3] = ["kube-controller-manager", "kubelet", "kube-scheduler"];

/// What somebody else has made of a Deployment, in words. Nothing: it is as we left it.
///
/// The number of replicas is compared with the one that we gave it, because a change by `scale` leaves no trace among the
/// managed fields before 1.22.
pub(crate) fn changed(set: &Deployment) -> Option<Change> {
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let replicas = set.spec.as_ref().and_then(|s| s.replicas);
    let given: Option<i32> = annotation(&set.metadata, REPLICAS).and_then(|n| n.parse().ok());
    if let (Some(replicas), Some(given)) = (replicas, given)
        && replicas != given
    {
        let by = manager(set, true).unwrap_or("somebody else (kubectl?)");
        return Some(Change::Replicas(format!(
            "{by} scaled deployment {name} from {given} to {replicas}: it is left so; scaled back to {given} it is the platform's again"
        )));
    }
    let by = manager(set, false)?;
    Some(Change::Other(format!(
        "{by} changed deployment {name}: what it changed is left as it is"
    )))
}

/// What somebody else has changed.
pub(crate) enum Change {
    /// The number of replicas.
    Replicas(String),
    /// Something else.
    Other(String),
}

/// Another manager of fields of a Deployment's spec: of the number of replicas, or of anything else.
fn manager(set: &Deployment, of_replicas: bool) -> Option<&str> {
    let fields = set.metadata.managed_fields.as_ref()?;
    fields.iter().find_map(|entry| {
        let manager = entry.manager.as_deref()?;
        let spec = entry.fields_v1.as_ref()?.0.get("f:spec")?.as_object()?;
        let other = manager != MANAGER && !CLUSTER.contains(&manager);
        let touches = if of_replicas {
            spec.contains_key("f:replicas")
        } else {
            spec.keys().any(|key| key != "f:replicas")
        };
        (other && touches).then_some(manager)
    })
}
