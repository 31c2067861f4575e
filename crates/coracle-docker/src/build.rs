//! Builds.

use coracle_engine::EngineError;
use coracle_engine::build::{BuildProgress, BuildRequest, BuiltImage};

use crate::state::Core;

pub(crate) async fn build(
    _core: &Core,
    _request: BuildRequest,
    _progress: BuildProgress,
) -> Result<BuiltImage, EngineError> {
    Err(EngineError::Unsupported("builds"))
}
