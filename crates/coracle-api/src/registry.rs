//! The registry as a whole: how much it holds, and the collection of what nothing needs.

use axum::extract::State;
use axum::http::StatusCode;
use coracle_control::disk;
use coracle_control::image::Needed;
use coracle_control::keys;
use coracle_model::problem::{Code, Problem};
use coracle_model::quantity::Span;
use coracle_model::registry::{CollectionPhase, CollectionStatus, RegistrySpec, RegistryState};
use coracle_registry::{RegistryError, RepositoryName};
use serde::Deserialize;

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Json, Query};
use crate::image::{Translated, failed};
use crate::state::ApiState;

/// Repositories that are counted together.
const PAGE: usize = 500;

/// What is to be collected.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct CollectQuery {
    /// What is younger stays, such as `10m`; an hour unless told. A push whose client pauses for longer fails and has to be tried again.
    #[serde(default)]
    min_age: Option<String>,
}

/// How much the registry holds, and how its collection is.
#[utoipa::path(get, path = "/api/v1/registry", tag = "images", responses(
    (status = 200, body = RegistryState), (status = "default", body = Problem)))]
pub(crate) async fn read(State(state): State<ApiState>) -> ApiResult<Json<RegistryState>> {
    let record = state
        .control
        .objects
        .get::<RegistrySpec>(keys::REGISTRY)
        .await?;
    let collection = record.map(|record| record.status).unwrap_or_default();
    Ok(Json(registry_state(&state, collection).await?))
}

async fn registry_state(
    state: &ApiState,
    collection: CollectionStatus,
) -> ApiResult<RegistryState> {
    let usage = state.registry.usage().await.map_err(failed)?;
    let disk = disk::state(&state.control.settings.shared_dir).await;
    Ok(RegistryState {
        bytes: usage.bytes,
        blobs: usage.blobs,
        repositories: repositories(state).await.map_err(failed)?,
        reclaimable_bytes: reclaimable(state, &collection).await?,
        disk: disk.map_err(ApiError::internal)?,
        collection,
    })
}

async fn repositories(state: &ApiState) -> Result<u64, RegistryError> {
    let mut count = 0;
    let mut after = None::<RepositoryName>;
    loop {
        let after_name = after.as_ref().map(RepositoryName::as_str);
        let page = state.registry.repositories(after_name, PAGE).await?;
        count += page.items.len() as u64;
        match page.items.into_iter().next_back().filter(|_| page.more) {
            Some(last) => after = Some(last),
            None => return Ok(count),
        }
    }
}

/// What a collection would free now. It is not looked for while one goes on.
async fn reclaimable(state: &ApiState, collection: &CollectionStatus) -> ApiResult<Option<u64>> {
    if collection.phase == CollectionPhase::Running {
        return Ok(None);
    }
    let needed: &dyn Needed = &state.control;
    let age = coracle_control::controllers::Options::default().collect_age;
    match state.registry.collectable(&Translated(needed), age).await {
        Ok(garbage) => Ok(Some(garbage.bytes)),
        Err(RegistryError::Collecting) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Collect what nothing needs. It happens once a day by itself.
#[utoipa::path(post, path = "/api/v1/registry/collect", tag = "images", params(CollectQuery), responses(
    (status = 202, body = RegistryState), (status = "default", body = Problem)))]
pub(crate) async fn collect(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<CollectQuery>,
) -> ApiResult<(StatusCode, Json<RegistryState>)> {
    let min_age = query.min_age.map(|text| text.parse::<Span>()).transpose();
    let min_age = min_age
        .map_err(|error| Problem::new(Code::InvalidField, error.to_string()).field("min_age"))?;
    let asked = state
        .control
        .collect_registry(min_age, &caller.actor())
        .await?;
    let answer = registry_state(&state, asked.status).await?;
    Ok((StatusCode::ACCEPTED, Json(answer)))
}
