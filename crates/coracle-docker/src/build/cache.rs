//! The cache that builds leave in the daemon, held to a bound.
//!
//! Theory of operation: BuildKit's own collection of garbage is off unless the daemon's configuration turns it on,
//! so the cache grows with every build. After each build the daemon is asked to forget what was not used for longest
//! until no more than the bound is left; what a running build uses stays. The cache is one for all who build on this
//! daemon and does not say whose a part is: a bound for all of it is all that can be kept, and nothing goes below it.
//! One such request is under way at most: it may take a while, and the next build makes up for what it leaves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::PruneBuildOptions;
use coracle_engine::EngineError;
use coracle_model::quantity::ByteSize;

use crate::client::engine_error;
use crate::state::Core;
use crate::{node, raw};

/// The most time for the daemon to remove what is too much.
const LIMIT: Duration = Duration::from_mins(10);

/// From this version of its API on (1.N) the daemon calls the bound otherwise, and no longer takes the name before.
const RENAMED: usize = 48;

/// Brings the cache back to its bound, beside whatever else is done.
pub(crate) fn bound(core: &Arc<Core>) {
    let Ok(turn) = Arc::clone(&core.pruning).try_acquire_owned() else {
        return;
    };
    let own = Arc::clone(core);
    core.config
        .supervisor
        .spawn("docker-build-cache", async move {
            match tokio::time::timeout(LIMIT, prune(&own)).await {
                Ok(Ok(0)) => {}
                Ok(Ok(freed)) => {
                    tracing::info!(freed = %ByteSize(freed), "the cache of builds was too large");
                }
                Ok(Err(error)) => tracing::warn!(%error, "the cache of builds cannot be bounded"),
                Err(_elapsed) => {
                    tracing::warn!("the daemon takes long to bound the cache of builds")
                }
            }
            drop(turn);
        });
}

/// How many bytes went.
async fn prune(core: &Core) -> Result<u64, EngineError> {
    let docker = core.client.docker().await?;
    let info = docker.info().await.map_err(engine_error)?;
    let disk = info.docker_root_dir.as_deref().map(Path::new);
    let disk = disk.and_then(node::disk_bytes);
    let Some(most) = core.config.build_cache.bytes(disk) else {
        return Ok(0);
    };
    let version = docker.client_version();
    if version.major_version > 1 || version.minor_version >= RENAMED {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let options = PruneBuildOptions {
            all: Some(true),
            max_used_space: Some(most),
            reserved_space: Some(most),
            ..PruneBuildOptions::default()
        };
        let answer = docker.prune_build(Some(options)).await;
        let freed = answer.map_err(engine_error)?.space_reclaimed;
        return Ok(freed
            .and_then(|f| u64::try_from(f).ok())
            .unwrap_or_default());
    }
    // The library knows the new name only, and without a bound everything would go.
    let path = format!(
        "/v1.{}/build/prune?all=true&keep-storage={most}",
        version.minor_version
    );
    let answer = raw::post(core.client.socket(), &path).await?;
    Ok(answer
        .get("SpaceReclaimed")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or_default())
}
