//! Paths and selectors of the API.

use serde_json::Value;

/// What a path names: an object, or a collection when it has no name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// Group and version, such as `apps/v1`.
    pub(crate) api: String,
    pub(crate) resource: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
}

impl Target {
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.trim_start_matches('/').split('/');
        let api = match parts.next()? {
            "api" => parts.next()?.to_owned(),
            "apis" => format!("{}/{}", parts.next()?, parts.next()?),
            _ => return None,
        };
        let rest: Vec<&str> = parts.collect();
        let (namespace, resource, name) = match rest[..] {
            ["namespaces", namespace, resource] => (Some(namespace), resource, None),
            ["namespaces", namespace, resource, name] => (Some(namespace), resource, Some(name)),
            [resource, name] => (None, resource, Some(name)),
            [resource] => (None, resource, None),
            _ => return None,
        };
        Some(Self {
            api,
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
        })
    }

    /// Is an object in this collection?
    pub(crate) fn holds(&self, object: &Self) -> bool {
        self.api == object.api
            && self.resource == object.resource
            && (self.namespace.is_none() || self.namespace == object.namespace)
    }

    /// The namespace that it is in, as an object.
    pub(crate) fn in_namespace(&self) -> Option<Self> {
        Some(Self {
            api: "v1".to_owned(),
            resource: "namespaces".to_owned(),
            namespace: None,
            name: Some(self.namespace.clone()?),
        })
    }
}

/// Conditions on labels: `a=b`, `a!=b`, `a`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector(Vec<String>);

impl Selector {
    pub(crate) fn of(query: &str) -> Self {
        let text = query
            .split('&')
            .find_map(|p| p.strip_prefix("labelSelector="));
        let text = text.unwrap_or_default();
        let text = text
            .replace("%3D", "=")
            .replace("%21", "!")
            .replace("%2F", "/");
        let parts = text.split("%2C").flat_map(|part| part.split(','));
        Self(parts.filter(|p| !p.is_empty()).map(str::to_owned).collect())
    }

    pub(crate) fn fits(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0.iter().all(|condition| {
            match (condition.split_once("!="), condition.split_once('=')) {
                (Some((key, value)), _) => labels[key] != value,
                (None, Some((key, value))) => labels[key] == value,
                (None, None) => !labels[condition].is_null(),
            }
        })
    }
}
