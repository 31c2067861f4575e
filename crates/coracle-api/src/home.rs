//! The page at the API's address, until the dashboard is there: whoever opens it in a browser learns that the
//! platform runs and where to go on.

use axum::http::header;
use axum::response::IntoResponse;

/// Nothing from elsewhere, no script: styles only, and those are in the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

const PAGE: &str = concat!(
    r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Coracle</title>
<style>
  body { max-width: 36rem; margin: 15vh auto 0; padding: 0 1.5rem; font: 1rem/1.6 system-ui, sans-serif; }
  h1 { margin-bottom: 0; }
  code { font-family: ui-monospace, monospace; }
</style>
<main>
<h1>Coracle runs</h1>
<p>Version "#,
    env!("CARGO_PKG_VERSION"),
    r#". The dashboard comes with a later version. Until then there are two ways in:</p>
<ul>
  <li>The command line: <code>coracle apps</code> lists what runs, <code>coracle deploy FOLDER</code> adds to it,
      <code>coracle help</code> tells the rest.</li>
  <li>The API: <a href="/api/v1/openapi.json">its OpenAPI document</a>.</li>
</ul>
</main>
"#
);

/// What there is here.
#[utoipa::path(get, path = "/", tag = "platform", responses((status = 200, description = "A page for people")))]
pub(crate) async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, PAGE)
}
