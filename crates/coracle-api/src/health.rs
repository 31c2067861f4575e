//! Is it alive, and is it ready?

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

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
    match state.control.objects.store().revision().await {
        Ok(_) => "ready\n".into_response(),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "not ready");
            // What is wrong with a store on servers says what to do; anybody may read it here, so it has no secret.
            let reason = format!("the store does not answer: {error}\n");
            (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
        }
    }
}
