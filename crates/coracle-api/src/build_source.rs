//! The source of a build, for the pod that does the build. Not for people: it takes the build's own ticket.
//!
//! Theory of operation: the folder is packed while it is sent, to one at a time. Whoever lost a part of it asks again: the
//! ticket is spent once the cluster says that the source was fetched. It stands in a header, because addresses are logged.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use coracle_builder::Limits;
use coracle_model::problem::{Code, Problem};
use futures::{StreamExt as _, stream};

use crate::credentials::{Carrier, presented};
use crate::error::{ApiError, ApiResult};
use crate::state::ApiState;

/// The source of a build. `Authorization: Bearer` carries the build's ticket.
#[utoipa::path(get, path = "/internal/v1/build-source", tag = "internal", responses(
    (status = 200, description = "application/zstd: a tar of the source"), (status = "default", body = Problem)))]
pub(crate) async fn read(State(state): State<ApiState>, headers: HeaderMap) -> ApiResult<Response> {
    let ticket = presented(&headers).filter(|(_, carrier)| *carrier == Carrier::Header);
    let (ticket, _) = ticket.ok_or_else(ApiError::unauthenticated)?;
    let taking = state.desk.take(ticket.expose());
    let taking = taking.ok_or_else(ApiError::unauthenticated)?;
    let (folder, dockerfile) = (taking.source().to_owned(), taking.dockerfile().to_owned());
    let scan = tokio::task::spawn_blocking(move || {
        coracle_builder::scan_context(&folder, &dockerfile, &Limits::default())
    });
    let cannot = |error: &dyn std::error::Error| {
        tracing::error!(%error, "a build's source cannot be read");
        ApiError::new(Code::Internal, "the source cannot be read")
    };
    let scan = match scan.await {
        Ok(Ok(scan)) => scan,
        Ok(Err(error)) => return Err(cannot(&error)),
        Err(panic) => return Err(cannot(&panic)),
    };
    let pieces = coracle_builder::pack(scan, |_progress| ());
    let pieces = stream::unfold((pieces, taking), |(mut pieces, taking)| async move {
        let piece = pieces.next().await?;
        if !taking.goes_on() {
            let over = "another pod builds by now, or the build is over";
            return Some((Err(std::io::Error::other(over)), (pieces, taking)));
        }
        Some((piece, (pieces, taking)))
    });
    let headers = [
        (header::CONTENT_TYPE, coracle_builder::pack::CONTENT_TYPE),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}
