//! The dashboard's files and pages, as browsers and others ask for them.

use std::io::Write as _;

use coracle_api::{Asset, Dashboard};
use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, Options, Platform};

const INDEX: &str = "<!doctype html><title>The dashboard</title>";
const SCRIPT: &str = "export const answer = 42;";
/// What a browser sends when somebody opens an address.
const NAVIGATION: &str =
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

fn gzip(text: &str) -> &'static [u8] {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    Vec::leak(encoder.finish().unwrap())
}

async fn platform() -> Platform {
    let files = vec![
        Asset {
            path: "/assets/main-1a2b.js",
            etag: "11",
            plain: None,
            gzip: Some(gzip(SCRIPT)),
            brotli: Some(b"as brotli has it"),
        },
        Asset {
            path: "/icon.svg",
            etag: "22",
            plain: Some(b"<svg/>"),
            gzip: None,
            brotli: None,
        },
        Asset {
            path: "/index.html",
            etag: "33",
            plain: None,
            gzip: Some(gzip(INDEX)),
            brotli: None,
        },
    ];
    Platform::with(Options {
        dashboard: Dashboard::of(Vec::leak(files)),
        ..Options::default()
    })
    .await
}

async fn get(platform: &Platform, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = platform.nobody().request(Method::GET, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request).await
}

#[tokio::test]
async fn every_page_is_the_dashboard_and_nothing_else_is() {
    let platform = platform().await;
    let page = [("accept", NAVIGATION)];
    for path in [
        "/",
        "/index.html",
        "/apps",
        "/projects/shop/apps/till/logs?process=web",
        "/images/shop/till",
        "/builds",
        "/%3Cscript%3E",
        "/..%2f..%2fetc/passwd",
    ] {
        let answer = get(&platform, path, &page).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.text(), INDEX, "{path}");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "no-cache");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src"));
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("base-uri 'none'"));
        assert!(!policy.contains("unsafe-eval") && !policy.contains('*'));
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}: {name}");
        }
        assert!(answer.header("permissions-policy").contains("camera=()"));
        assert_eq!(answer.header("set-cookie"), "");
    }
    // Without a word about pages, a path is a page only where it is the first one.
    assert_eq!(get(&platform, "/", &[]).await.text(), INDEX);
    get(&platform, "/apps", &[]).await.problem(404, "not_found");
    get(&platform, "/apps", &[("accept", "*/*")])
        .await
        .problem(404, "not_found");
    // What is missing of the API, the registry and the files is missing, for browsers too.
    for path in [
        "/api",
        "/api/v1/nothing",
        "/api/v2/apps",
        "/internal/v1/nothing",
        "/assets/main-0000.js",
        "/assets/",
        "/healthz/x",
    ] {
        get(&platform, path, &page).await.problem(404, "not_found");
    }
    let of_registry = get(&platform, "/v2/shop/till/nothing", &page).await;
    assert_ne!(of_registry.status, 200);
    let post = platform.nobody().post("/apps", &json!({})).await;
    post.problem(404, "not_found");
    platform
        .nobody()
        .post("/", &json!({}))
        .await
        .problem(405, "method_not_allowed");
}

#[tokio::test]
async fn files_come_as_they_are_taken_and_only_when_they_are_new() {
    let platform = platform().await;
    let script = "/assets/main-1a2b.js";
    let answer = get(
        &platform,
        script,
        &[("accept-encoding", "gzip, deflate, br")],
    )
    .await;
    assert_eq!(answer.text(), "as brotli has it");
    assert_eq!(answer.header("content-encoding"), "br");
    assert_eq!(answer.header("etag"), "\"11-br\"");
    assert_eq!(
        answer.header("content-type"),
        "text/javascript; charset=utf-8"
    );
    assert_eq!(
        answer.header("cache-control"),
        "public, max-age=31536000, immutable"
    );
    assert_eq!(answer.header("vary"), "accept-encoding");
    let answer = get(&platform, script, &[("accept-encoding", "gzip")]).await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert_eq!(&*answer.body, gzip(SCRIPT));
    let answer = get(&platform, script, &[]).await;
    assert_eq!(answer.text(), SCRIPT);
    assert_eq!(answer.header("content-encoding"), "");
    assert_eq!(answer.header("etag"), "\"11\"");
    let answer = get(&platform, "/icon.svg", &[("accept-encoding", "br")]).await;
    assert_eq!(answer.text(), "<svg/>");
    assert_eq!(answer.header("content-type"), "image/svg+xml");

    let known = [("accept-encoding", "br"), ("if-none-match", "W/\"11-br\"")];
    let answer = get(&platform, script, &known).await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    assert_eq!(answer.header("etag"), "\"11-br\"");
    assert!(answer.header("cache-control").ends_with("immutable"));
    // Another encoding of it is another thing.
    let other = [("accept-encoding", "gzip"), ("if-none-match", "\"11-br\"")];
    assert_eq!(get(&platform, script, &other).await.status, 200);

    let head = platform.nobody().request(Method::HEAD, script);
    let head = Answer::of(head).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), SCRIPT.len().to_string());
}

#[tokio::test]
async fn without_a_dashboard_people_are_told_how_to_get_it() {
    let platform = Platform::with(Options {
        dashboard: Dashboard::of(&[]),
        ..Options::default()
    })
    .await;
    for path in ["/", "/apps"] {
        let answer = get(&platform, path, &[("accept", NAVIGATION)]).await;
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("make web"), "{}", answer.text());
        assert!(answer.header("content-security-policy").contains("'none'"));
    }
    get(&platform, "/icon.svg", &[])
        .await
        .problem(404, "not_found");
}
