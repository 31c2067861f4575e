//! What wakes controllers.

use coracle_model::name::{AppName, ProjectName};
use coracle_model::workload::{Owner, PodId};

/// What may have changed.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// The record with this key.
    Stored(&'a str),
    /// A pod, with what the platform put on it as far as that is known.
    Pod(&'a PodId, Option<&'a Owner>),
    /// A node.
    Node,
    /// A gateway reported, or a table was published.
    Gateways,
}

impl Change<'_> {
    /// The app of a record under `prefix` (such as `/apps/`): `PREFIX PROJECT / APP …`.
    #[must_use]
    pub fn stored_app(&self, prefix: &str) -> Option<(ProjectName, AppName)> {
        let Self::Stored(key) = self else {
            return None;
        };
        let mut parts = key.strip_prefix(prefix)?.split('/');
        let project = ProjectName::new(parts.next()?).ok()?;
        let app = AppName::new(parts.next()?).ok()?;
        Some((project, app))
    }

    /// Is it the record of something under `prefix`?
    #[must_use]
    pub fn is_stored_under(&self, prefix: &str) -> bool {
        matches!(self, Self::Stored(key) if key.starts_with(prefix))
    }
}
