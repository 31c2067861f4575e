//! Is it alive, and is it ready?

use std::error::Error as _;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use coracle_store::StoreError;

use crate::state::ApiState;

/// Answers as long as the process does.
#[utoipa::path(get, path = "/healthz", tag = "platform", responses((status = 200, description = "It is alive")))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Answers with 200 once requests can be served: the store answers. The engine may be away; what needs it
/// says so itself.
#[utoipa::path(get, path = "/readyz", tag = "platform", responses(
    (status = 200, description = "It is ready"), (status = 503, description = "The store does not answer")))]
pub(crate) async fn readyz(State(state): State<ApiState>) -> Response {
    let store = state.control.objects.store();
    let answers = match store.writable().await {
        Ok(()) => return "ready\n".into_response(),
        // A store that is full or takes nothing from us is still read, and room is made by deleting.
        Err(error @ (StoreError::OutOfSpace { .. } | StoreError::Refused { .. })) => {
            store.revision().await.map(|_revision| error)
        }
        Err(error) => Err(error),
    };
    // What is wrong with a store on servers says what to do; anybody may read it here, so it has no secret.
    match answers {
        Ok(refusal) => {
            format!("ready, but the store cannot be written: {refusal}\n").into_response()
        }
        Err(error) => {
            let cause = error.source().map(ToString::to_string);
            tracing::warn!(%error, cause, "not ready");
            let reason = format!("not ready: the store does not answer: {error}\n");
            (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
        }
    }
}
