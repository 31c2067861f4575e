//! All pods of a platform stopped, without an engine: for whoever takes the whole platform down.
//!
//! Docker remembers that these containers were stopped on purpose and does not start them with the daemon; the
//! engine's next life does, because their workloads are still wished for.

use bollard::query_parameters::StopContainerOptionsBuilder;
use coracle_engine::EngineError;
use futures::StreamExt as _;

use crate::client::{engine_error, ignore_missing};
use crate::config::DockerConfig;
use crate::container::ContainerState;
use crate::observe::list;
use crate::state::Core;

/// Containers stopped at the same time.
const AT_ONCE: usize = 16;

/// Time beyond a pod's grace for Docker to answer.
const MARGIN: std::time::Duration = std::time::Duration::from_secs(30);

/// Stops every running pod of `config`'s platform, each with its grace, and says how many there were.
///
/// # Errors
/// When the daemon does not answer, or one of them could not be stopped; the others are, nevertheless.
pub async fn stop_pods(config: DockerConfig) -> Result<usize, EngineError> {
    let core = Core::new(config);
    let docker = core.client.docker().await?;
    let mut running = list(&core, &docker).await?;
    running.retain(|container| container.state != ContainerState::Ended);
    let stops = running.iter().map(|container| {
        let grace = container.facts.grace;
        let patient = docker.clone().with_timeout(grace + MARGIN);
        async move {
            let seconds = i32::try_from(grace.as_secs().max(1)).unwrap_or(i32::MAX);
            let options = StopContainerOptionsBuilder::default().t(seconds).build();
            ignore_missing(patient.stop_container(&container.id, Some(options)).await)
                .map_err(engine_error)
        }
    });
    let mut stopping = futures::stream::iter(stops).buffer_unordered(AT_ONCE);
    let mut failed = None;
    while let Some(stopped) = stopping.next().await {
        failed = failed.or(stopped.err());
    }
    drop(stopping);
    failed.map_or(Ok(running.len()), Err)
}
