//! What the engine must be allowed, verb by verb.
//!
//! Theory of operation: the Helm chart's ClusterRole is compared with this table, and what is forbidden is told with
//! the row that would grant it. Everything is asked for in the whole cluster, because projects come and go as namespaces;
//! what is not the platform's own is only ever read.

/// A row: an API group (empty for the core group), a resource with its subresource, and verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The resource, such as `pods` or `pods/log`.
    pub resource: &'static str,
    /// Sorted verbs.
    pub verbs: &'static [&'static str],
    /// What for.
    pub reason: &'static str,
}

const fn rule(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    reason: &'static str,
) -> Rule {
    Rule {
        group,
        resource,
        verbs,
        reason,
    }
}

/// All that the engine asks the API server for.
pub const RULES: &[Rule] = &[
    rule(
        "",
        "namespaces",
        &["create", "delete", "get", "list", "patch", "watch"],
        "one per project",
    ),
    rule(
        "",
        "pods",
        &[
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "watch",
        ],
        "bare pods; taking single pods out of their set",
    ),
    rule("", "pods/log", &["get"], "logs"),
    rule("", "pods/exec", &["create", "get"], "commands in pods"),
    rule("", "pods/attach", &["create", "get"], "one-off commands"),
    rule(
        "",
        "pods/portforward",
        &["create", "get"],
        "connections to pods",
    ),
    rule("", "events", &["list", "watch"], "why pods do not start"),
    rule(
        "",
        "nodes",
        &["get", "list", "patch", "watch"],
        "nodes, cordon",
    ),
    rule(
        "",
        "nodes/proxy",
        &["get"],
        "figures from the kubelet where there is no metrics API",
    ),
    rule(
        "",
        "secrets",
        &[
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
        ],
        "environments and pull secrets",
    ),
    rule(
        "",
        "services",
        &["create", "delete", "get", "list", "patch"],
        "names of workloads",
    ),
    rule(
        "",
        "persistentvolumeclaims",
        &["create", "delete", "get", "list", "patch"],
        "volumes",
    ),
    rule(
        "",
        "resourcequotas",
        &["create", "delete", "get", "list", "patch"],
        "quota of a project, where one is configured",
    ),
    rule(
        "apps",
        "deployments",
        &[
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "watch",
        ],
        "replicated workloads",
    ),
    rule(
        "batch",
        "jobs",
        &[
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "watch",
        ],
        "tasks",
    ),
    rule(
        "networking.k8s.io",
        "networkpolicies",
        &["create", "delete", "get", "list", "patch"],
        "projects apart from each other",
    ),
    rule(
        "policy",
        "poddisruptionbudgets",
        &["create", "delete", "get", "list", "patch"],
        "drains of nodes leave enough pods",
    ),
    rule(
        "storage.k8s.io",
        "storageclasses",
        &["list"],
        "to tell by `coracle doctor` whether volumes can be made",
    ),
    rule(
        "metrics.k8s.io",
        "pods",
        &["get", "list"],
        "figures, where there is the metrics API",
    ),
    rule(
        "metrics.k8s.io",
        "nodes",
        &["get", "list"],
        "figures, where there is the metrics API",
    ),
];

/// How to grant a verb on a resource: the rule to add to the ClusterRole.
#[must_use]
pub fn grant(group: &str, resource: &str, verb: &str) -> String {
    format!(
        "add to the platform's ClusterRole: {{apiGroups: [\"{group}\"], resources: [\"{resource}\"], verbs: [\"{verb}\"]}}"
    )
}
