//! The dashboard: files that are part of the program.
//!
//! Theory of operation: `web/` is built by npm into files, compressed twice as well as can be; the build script
//! embeds them (`build/`), and here they are served as they are: nothing is compressed, read or kept at runtime, and the
//! pages of the program that hold them are touched when somebody asks. Files under `/assets/` have a hash of their
//! content in their name and never change; everything else is asked for again each time, by its tag. The dashboard
//! has addresses of its own (`/projects/shop/apps/till`): whoever opens one in a browser gets `index.html`, whose program
//! shows it. A program that asks for something that is not there gets a 404, and never a page.
//!
//! The fallback is open to everybody, as `/` is: it has nothing but these files, and asks neither store nor engine.
//! The Content-Security-Policy is on all of them, because a worker has that of its own file.

mod accept;
#[cfg(test)]
#[path = "../build/scan.rs"]
mod scan;

use std::io::Read as _;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use coracle_model::problem::Code;

use crate::error::{ApiError, ApiResult};
use crate::state::ApiState;
use accept::{Encoding, accepts_html, best_encoding, knows};

/// Nothing from elsewhere, and no script or style sheet but our own files; `style` elements and attributes are what the
/// component library and the terminal make at runtime.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What no page of the dashboard needs.
const PERMISSIONS: &str = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), \
    magnetometer=(), microphone=(), midi=(), payment=(), usb=()";

/// Of a file whose name changes with its content: a year.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// First words of paths that are not the dashboard's.
const NOT_PAGES: [&str; 7] = [
    "api", "v2", "internal", "assets", "healthz", "readyz", "metrics",
];

/// The largest file that is unpacked for somebody who takes none that is compressed, in bytes.
const MOST_UNPACKED: u64 = 32 << 20;

/// A file of the dashboard. One that was compressed need not be there plain: gzip holds it.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Under which it is asked for.
    pub path: &'static str,
    /// Changes with its content.
    pub etag: &'static str,
    /// As it is.
    pub plain: Option<&'static [u8]>,
    /// Compressed by gzip.
    pub gzip: Option<&'static [u8]>,
    /// Compressed by brotli.
    pub brotli: Option<&'static [u8]>,
}

/// The files of a dashboard, ordered by path; without any there is a page that says how to get it.
#[derive(Clone, Copy, Debug)]
pub struct Dashboard(&'static [Asset]);

static EMBEDDED: &[Asset] = include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

impl Dashboard {
    /// The one that is part of this program.
    #[must_use]
    pub const fn embedded() -> Self {
        Self(EMBEDDED)
    }

    /// One of these files, which are ordered by path.
    #[must_use]
    pub const fn of(files: &'static [Asset]) -> Self {
        Self(files)
    }

    fn file(self, path: &str) -> Option<&'static Asset> {
        let at = self.0.binary_search_by(|asset| asset.path.cmp(path)).ok()?;
        self.0.get(at)
    }

    fn index(self, headers: &HeaderMap) -> ApiResult<Response> {
        match self.file("/index.html") {
            Some(index) => index.answer(headers),
            None => Ok(ours(
                "text/html; charset=utf-8",
                "no-cache",
                NOT_BUILT.into_response(),
            )),
        }
    }
}

/// The dashboard. Every other path that is not the API's is one of its files or pages.
#[utoipa::path(get, path = "/", tag = "platform", responses((status = 200, description = "A page for people")))]
pub(crate) async fn index(
    State(state): State<ApiState>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    state.dashboard.index(&headers)
}

/// What is no route: a file or a page of the dashboard, or nothing.
pub(crate) async fn rest(
    State(state): State<ApiState>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let path = uri.path();
    let first = path.split('/').nth(1).unwrap_or_default();
    if method.is_safe() && method != Method::OPTIONS {
        if let Some(file) = state.dashboard.file(path) {
            return file.answer(&headers);
        }
        if accepts_html(&headers) && !NOT_PAGES.contains(&first) {
            return state.dashboard.index(&headers);
        }
    }
    Err(ApiError::new(
        Code::NotFound,
        "there is nothing at this path",
    ))
}

impl Asset {
    fn answer(&self, headers: &HeaderMap) -> ApiResult<Response> {
        let have = [
            self.brotli.map(|bytes| (Encoding::Brotli, bytes)),
            self.gzip.map(|bytes| (Encoding::Gzip, bytes)),
        ];
        let chosen = best_encoding(headers, have.into_iter().flatten());
        let encoding = chosen.map(|(encoding, _)| encoding);
        let etag = match encoding {
            Some(encoding) => format!("\"{}-{}\"", self.etag, encoding.name()),
            None => format!("\"{}\"", self.etag),
        };
        let mut response = if knows(headers, &etag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            match chosen {
                Some((_, bytes)) => Bytes::from_static(bytes).into_response(),
                None => self.plain()?.into_response(),
            }
        };
        let map = response.headers_mut();
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            map.insert(header::ETAG, etag);
        }
        if let Some(encoding) = encoding {
            let name = HeaderValue::from_static(encoding.name());
            map.insert(header::CONTENT_ENCODING, name);
        }
        map.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        let cache = if self.path.starts_with("/assets/") {
            FOR_EVER
        } else {
            "no-cache"
        };
        Ok(ours(media_type(self.path), cache, response))
    }

    /// For the few that take nothing compressed, such as `curl`.
    fn plain(&self) -> ApiResult<Bytes> {
        if let Some(bytes) = self.plain {
            return Ok(Bytes::from_static(bytes));
        }
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(self.gzip.unwrap_or_default())
            .take(MOST_UNPACKED)
            .read_to_end(&mut bytes)
            .map_err(ApiError::internal)?;
        Ok(bytes.into())
    }
}

/// With the headers that all of it has.
fn ours(media_type: &'static str, cache: &'static str, mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, cache),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", PERMISSIONS),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// By the end of the file's name; what is not known is only ever downloaded.
fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, end)| end) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("ico") => "image/vnd.microsoft.icon",
        Some("woff2") => "font/woff2",
        Some("woff") => "font/woff",
        Some("wasm") => "application/wasm",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

const NOT_BUILT: &str = concat!(
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
    r#". This program was built without the dashboard: <code>make web</code>, and build it again. Until then there are
two ways in:</p>
<ul>
  <li>The command line: <code>coracle apps</code> lists what runs, <code>coracle deploy FOLDER</code> adds to it,
      <code>coracle help</code> tells the rest.</li>
  <li>The API: <a href="/api/v1/openapi.json">its OpenAPI document</a>.</li>
</ul>
</main>
"#
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_embedded_is_found_by_its_path() {
        let ordered = EMBEDDED.windows(2).all(|pair| pair[0].path < pair[1].path);
        assert!(ordered, "the build script orders them");
        for asset in EMBEDDED {
            assert!(asset.path.starts_with('/'), "{}", asset.path);
            let plain = asset.plain().expect("what is compressed can be unpacked");
            assert!(
                asset.plain.is_some() || asset.gzip.is_some(),
                "{}",
                asset.path
            );
            assert!((plain.len() as u64) < MOST_UNPACKED, "{}", asset.path);
        }
    }

    #[test]
    fn a_build_is_scanned_with_what_is_beside_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("assets/b.js", "let b");
        write("assets/b.js.gz", "gz");
        write("assets/b.js.br", "br");
        write("assets/b.js.map", "{}");
        write(".hidden", "");
        write("icon.svg", "<svg/>");
        assert!(
            scan::scan(dir.path()).unwrap().is_empty(),
            "a build that is not done is none"
        );
        write("index.html", "<!doctype html>");
        let found = scan::scan(dir.path()).unwrap();
        let said: Vec<_> = found
            .iter()
            .map(|found| {
                (
                    found.path.as_str(),
                    found.gzip.is_some(),
                    found.brotli.is_some(),
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                ("/assets/b.js", true, true),
                ("/icon.svg", false, false),
                ("/index.html", false, false)
            ]
        );
        let before = found[1].etag.clone();
        write("icon.svg", "<svg />");
        let found = scan::scan(dir.path()).unwrap();
        assert_ne!(found[1].etag, before);
        assert!(found[0].plain.ends_with("assets/b.js"));
        assert!(scan::scan(&dir.path().join("nothing")).unwrap().is_empty());
    }
}
