//! Manifests: `GET`, `HEAD`, `PUT`, `DELETE`.

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::blob::{etag, matches};
use super::{CONTENT_DIGEST, Granted, empty, header};
use crate::changes::What;
use crate::error::RegistryError;
use crate::limits::Limits;
use crate::manifest::MediaType;
use crate::repository::{Reference, Tag};

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

pub(super) async fn get(granted: Granted, reference: &str) -> Result<Response, RegistryError> {
    let reference: Reference = reference.parse()?;
    let Granted {
        registry,
        repository,
        request,
        ..
    } = granted;
    let (digest, link) = registry.manifest_record(&repository, &reference).await?;
    if !accepts(request.headers(), link.media_type) {
        return Err(RegistryError::ManifestUnknown(format!(
            "{reference} in a media type that the request accepts; it is {}",
            link.media_type
        )));
    }
    let etag = etag(&digest);
    if matches(request.headers(), &IF_NONE_MATCH, &etag) {
        let mut response = empty(StatusCode::NOT_MODIFIED);
        response.headers_mut().insert(ETAG, header(&etag)?);
        return Ok(response);
    }
    let mut response = if *request.method() == Method::HEAD {
        empty(StatusCode::OK)
    } else {
        Response::new(Body::from_stream(
            registry.manifest_stream(&digest).await?.stream,
        ))
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(link.size));
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(link.media_type.as_str()),
    );
    headers.insert(CONTENT_DIGEST, header(&digest.to_string())?);
    headers.insert(ETAG, header(&etag)?);
    Ok(response)
}

pub(super) async fn put(granted: Granted, reference: &str) -> Result<Response, RegistryError> {
    let reference: Reference = reference.parse()?;
    let Granted {
        registry,
        repository,
        request,
        ..
    } = granted;
    let media_type = match request.headers().get(CONTENT_TYPE) {
        None => None,
        Some(value) => {
            let text = value.to_str().unwrap_or_default();
            Some(
                text.split(';')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .parse::<MediaType>()?,
            )
        }
    };
    // A manifest is held in memory as a whole: it takes a turn as a blob does.
    let _slot = registry.upload_slot().await?;
    let bytes = collect(request.into_body(), &registry.inner.limits).await?;
    let put = registry
        .put_manifest(&repository, &reference, media_type, bytes)
        .await?;
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(
        LOCATION,
        header(&format!("/v2/{repository}/manifests/{}", put.digest))?,
    );
    headers.insert(CONTENT_DIGEST, header(&put.digest.to_string())?);
    if let Some(subject) = put.subject {
        headers.insert(OCI_SUBJECT, header(&subject.to_string())?);
    }
    Ok(response)
}

pub(super) async fn delete(granted: Granted, reference: &str) -> Result<Response, RegistryError> {
    let Granted {
        registry,
        repository,
        ..
    } = granted;
    let reference = reference.parse()?;
    let seen = registry.look(&repository, &reference).await?;
    let mut relied_on = registry.indexes_of(&repository, &seen.digest).await?;
    relied_on.push(seen.digest.clone());
    let tagged = registry.tag_records(&repository).await?;
    for digest in relied_on {
        let meant = tagged.iter().filter(|(_, means)| *means == digest);
        let tags: Vec<Tag> = meant.map(|(tag, _)| tag.clone()).collect();
        let auth = &registry.inner.auth;
        if let Some(who) = auth.in_use(&repository, &digest, &tags).await? {
            return Err(RegistryError::InUse(who));
        }
    }
    registry.delete_seen(&repository, &reference, &seen).await?;
    registry.tell(
        &repository,
        match reference {
            Reference::Tag(tag) => What::Untagged(tag),
            Reference::Digest(digest) => What::Deleted(digest),
        },
    );
    Ok(empty(StatusCode::ACCEPTED))
}

async fn collect(body: Body, limits: &Limits) -> Result<Bytes, RegistryError> {
    let most = limits.manifest_bytes;
    let mut stream = body.into_data_stream();
    let mut all = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout(limits.transfer_idle, stream.next()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return Ok(all.freeze()),
            Ok(Some(Err(_broken))) => {
                return Err(RegistryError::Interrupted("the connection broke"));
            }
            Err(_elapsed) => return Err(RegistryError::Interrupted("nothing came for too long")),
        };
        if all.len() + frame.len() > most {
            return Err(RegistryError::ManifestTooLarge { most });
        }
        all.extend_from_slice(&frame);
    }
}

/// May a manifest of this kind be sent? Without `Accept` any may. A kind is not converted into another: its digest would
/// change.
fn accepts(headers: &HeaderMap, kind: MediaType) -> bool {
    let mut ranges = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|range| !range.is_empty())
        .peekable();
    if ranges.peek().is_none() {
        return true;
    }
    ranges.any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused =
            parts.any(|p| matches!(p.strip_prefix("q="), Some("0" | "0.0" | "0.00" | "0.000")));
        // Manifests are JSON, and simple clients say just that.
        let fits =
            matches!(name, "*/*" | "application/*" | "application/json") || name == kind.as_str();
        fits && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept() {
        let check = |values: &[&'static str], kind| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(ACCEPT, HeaderValue::from_static(value));
            }
            accepts(&headers, kind)
        };
        let oci = MediaType::OciManifest;
        assert!(check(&[], oci));
        assert!(check(&["*/*"], oci));
        assert!(check(
            &["text/html, application/vnd.oci.image.manifest.v1+json;q=0.5"],
            oci
        ));
        assert!(check(
            &["text/html", "application/vnd.oci.image.manifest.v1+json"],
            oci
        ));
        assert!(!check(
            &["application/vnd.docker.distribution.manifest.v2+json"],
            oci
        ));
        assert!(!check(
            &["application/vnd.oci.image.manifest.v1+json;q=0"],
            oci
        ));
    }
}
