//! What is wished of the engine.

use std::time::Duration;

use coracle_model::name::{ImageRef, PodName, ProjectName};
use coracle_model::workload::{Owner, PodTemplate, Resources, Workload, WorkloadId, WorkloadKind};

/// One pod of the default project, always.
pub(crate) fn web(name: &str, generation: u64) -> Workload {
    Workload {
        id: WorkloadId {
            project: ProjectName::default_project(),
            name: PodName::new(name).unwrap(),
        },
        generation,
        kind: WorkloadKind::Replicated { replicas: 1 },
        owner: Owner::default(),
        template: PodTemplate {
            image: ImageRef::new("coracle-test:1").unwrap(),
            command: None,
            env: Vec::new(),
            port: None,
            names: Vec::new(),
            resources: Resources::default(),
            health: None,
            volumes: Vec::new(),
            stop_grace: Duration::ZERO,
            drain: Duration::ZERO,
        },
    }
}
