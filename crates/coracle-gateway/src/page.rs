//! The error layer: a [`Refusal`] as an answer that its reader understands.
//!
//! Theory of operation: a browser gets a page (light or dark as the person likes it, nothing loaded from elsewhere,
//! readable by a screen reader), a program that asks for JSON gets problem details (RFC 9457), everything else
//! plain text. The same stable code is in header `X-Coracle-Error` of all three.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::Full;

use crate::body::AnswerBody;
use crate::refusal::Refusal;

/// Header with the stable code of an answer that is the gateway's own.
pub(crate) const X_CORACLE_ERROR: HeaderName = HeaderName::from_static("x-coracle-error");

/// What the client likes to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Html,
    Json,
    Text,
}

impl Form {
    /// From the `Accept` header: HTML and JSON only when named, the one with the higher weight, or named first.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut best = (0.0_f32, Self::Text);
        for value in headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|v| v.to_str().ok())
        {
            for item in value.split(',') {
                let mut parts = item.split(';').map(str::trim);
                let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
                let form = if kind == "text/html" || kind == "application/xhtml+xml" {
                    Self::Html
                } else if kind == "application/json" || kind.ends_with("+json") {
                    Self::Json
                } else {
                    continue;
                };
                let weight = parts
                    .find_map(|p| p.strip_prefix("q="))
                    .map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0));
                if weight > best.0 {
                    best = (weight, form);
                }
            }
        }
        best.1
    }
}

/// The answer for `refusal`.
pub(crate) fn answer(
    refusal: &Refusal,
    form: Form,
    request_id: &HeaderValue,
) -> Response<AnswerBody> {
    let id = request_id.to_str().unwrap_or_default();
    let (kind, text) = match form {
        Form::Html => ("text/html; charset=utf-8", html(refusal, id)),
        Form::Json => ("application/problem+json", json(refusal, id)),
        Form::Text => ("text/plain; charset=utf-8", text(refusal)),
    };
    let mut response = Response::new(AnswerBody::Whole(Full::new(Bytes::from(text))));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CORACLE_ERROR, HeaderValue::from_static(refusal.code()));
    headers.insert(crate::request_id::X_REQUEST_ID, request_id.clone());
    if form == Form::Html {
        headers.insert(
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
        );
    }
    if let Some(seconds) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn text(refusal: &Refusal) -> String {
    format!("{}\n{}\n", refusal.title(), refusal.detail())
}

fn json(refusal: &Refusal, id: &str) -> String {
    serde_json::json!({
        "type": "about:blank",
        "title": refusal.title(),
        "status": refusal.status().as_u16(),
        "detail": refusal.detail(),
        "code": refusal.code(),
        "request_id": id,
    })
    .to_string()
}

fn html(refusal: &Refusal, id: &str) -> String {
    let title = escape(&refusal.title());
    let detail = escape(&refusal.detail());
    let status = refusal.status().as_u16();
    let code = refusal.code();
    let id = escape(id);
    let refresh = match refusal {
        Refusal::Starting { .. } | Refusal::NoTable => r#"<meta http-equiv="refresh" content="2">"#,
        _ => "",
    };
    format!(
        r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">{refresh}<title>{title}</title>
<style>
:root{{--paper:#f6f7f9;--ink:#1a2330;--soft:#556070}}
@media(prefers-color-scheme:dark){{:root{{--paper:#12171e;--ink:#e8ecf1;--soft:#9aa6b5}}}}
body{{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);color:var(--ink);font:1.05rem/1.5 system-ui,sans-serif}}
main{{max-width:38rem;padding:2rem}}h1{{font-size:1.7rem;line-height:1.2;margin:0 0 .75rem}}
p{{margin:0 0 1rem;white-space:pre-wrap;overflow-wrap:anywhere}}footer{{color:var(--soft);font-size:.85rem}}
</style></head>
<body><main><h1>{title}</h1><p>{detail}</p><footer>{status} · {code} · request {id}</footer></main></body></html>
"#
    )
}

/// Makes text harmless between tags and in quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &str) -> Form {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
        Form::of(&headers)
    }

    #[test]
    fn each_reader_gets_its_form() {
        assert_eq!(
            form("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            Form::Html
        );
        assert_eq!(form("*/*"), Form::Text);
        assert_eq!(form("application/json"), Form::Json);
        assert_eq!(
            form("application/problem+json, text/html;q=0.5"),
            Form::Json
        );
        assert_eq!(form("text/html;q=0.5, application/json;q=0.1"), Form::Html);
        assert_eq!(form("text/html;q=0"), Form::Text);
        assert_eq!(form("text/html;q=x"), Form::Text);
        assert_eq!(Form::of(&HeaderMap::new()), Form::Text);
    }

    #[test]
    fn text_from_outside_cannot_become_markup() {
        let refusal = Refusal::NoSuchApp {
            host: "<script>alert('1')</script>&\"\u{1b}".into(),
        };
        let page = html(&refusal, "id");
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains('\u{1b}'));
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;"));
        let parsed: serde_json::Value = serde_json::from_str(&json(&refusal, "id")).unwrap();
        assert_eq!(parsed["code"], "no_such_app");
        assert_eq!(parsed["status"], 404);
    }
}
