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
            tracing::error!(%error, "not ready");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the store does not answer\n",
            )
                .into_response()
        }
    }
}
