//! `GET` and `HEAD` of a blob, whole or a range.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE,
    RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use object_store::GetRange;

use super::{CONTENT_DIGEST, Granted, empty, header};
use crate::digest::Digest;
use crate::error::RegistryError;

pub(super) async fn get(granted: Granted, digest: &str) -> Result<Response, RegistryError> {
    let digest: Digest = digest.parse()?;
    let Granted {
        registry,
        repository,
        request,
        ..
    } = granted;
    let etag = etag(&digest);
    if *request.method() == Method::HEAD {
        registry.freshen(&repository, &digest).await?;
        let size = registry.blob_size(&repository, &digest).await?;
        let mut response = empty(StatusCode::OK);
        describe(response.headers_mut(), &digest, &etag, size)?;
        return Ok(response);
    }
    if matches(request.headers(), &IF_NONE_MATCH, &etag) {
        // Only who may read it is told that it has not changed.
        registry.blob_size(&repository, &digest).await?;
        let mut response = empty(StatusCode::NOT_MODIFIED);
        response.headers_mut().insert(ETAG, header(&etag)?);
        return Ok(response);
    }
    let same =
        !request.headers().contains_key(IF_RANGE) || matches(request.headers(), &IF_RANGE, &etag);
    let range = request
        .headers()
        .get(RANGE)
        .filter(|_| same)
        .and_then(parse_range);
    let partial = range.is_some();
    let blob = registry.blob(&repository, &digest, range).await?;
    let mut response = Response::new(Body::from_stream(blob.stream));
    let headers = response.headers_mut();
    describe(headers, &digest, &etag, blob.range.end - blob.range.start)?;
    if partial {
        let range = format!(
            "bytes {}-{}/{}",
            blob.range.start,
            blob.range.end.saturating_sub(1),
            blob.size
        );
        headers.insert(CONTENT_RANGE, header(&range)?);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn describe(
    headers: &mut HeaderMap,
    digest: &Digest,
    etag: &str,
    length: u64,
) -> Result<(), RegistryError> {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(CONTENT_DIGEST, header(&digest.to_string())?);
    headers.insert(ETAG, header(etag)?);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(())
}

/// Content never changes under its digest, so the digest is the entity tag.
pub(super) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Does one of the entity tags in header `name` equal `etag`?
pub(super) fn matches(headers: &HeaderMap, name: &HeaderName, etag: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|given| given == etag)
}

/// One range of bytes (RFC 9110, 14.1.2). What cannot be read, and several ranges, are ignored: then all of the content is sent.
fn parse_range(value: &HeaderValue) -> Option<GetRange> {
    let (first, last) = value
        .to_str()
        .ok()?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    let number = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse::<u64>().ok())
            .flatten()
    };
    match (first, last) {
        ("", last) => number(last).map(GetRange::Suffix),
        (first, "") => number(first).map(GetRange::Offset),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| GetRange::Bounded(first..last.saturating_add(1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let parse = |text: &'static str| parse_range(&HeaderValue::from_static(text));
        assert_eq!(parse("bytes=0-9"), Some(GetRange::Bounded(0..10)));
        assert_eq!(parse("bytes=5-"), Some(GetRange::Offset(5)));
        assert_eq!(parse("bytes=-5"), Some(GetRange::Suffix(5)));
        for ignored in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=9-0",
            "bytes=0-1,3-4",
            "bytes=+1-2",
            "bytes=a-b",
            "items=0-1",
        ] {
            assert_eq!(parse(ignored), None, "{ignored}");
        }
    }
}
