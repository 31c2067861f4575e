//! Uploads of blobs: begin, mount, chunk, status, complete, cancel.

use axum::extract::Request;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderMap, HeaderName, StatusCode};

use super::query::Parameters;
use super::{CONTENT_DIGEST, Granted, empty, header};
use crate::access::Action;
use crate::blob::Mounted;
use crate::digest::Digest;
use crate::error::{RegistryError, received_range};
use crate::placement::blocking;
use crate::registry::Registry;
use crate::repository::RepositoryName;
use crate::transfer::{Bounds, Received, receive};
use crate::upload::{OpenUpload, UploadId};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// `POST`: begin, or all at once with `?digest=`, or take over with `?mount=&from=`.
pub(super) async fn begin(granted: Granted) -> Result<Response, RegistryError> {
    let Granted {
        registry,
        credentials,
        repository,
        request,
    } = granted;
    let parameters = Parameters::of(request.uri());
    if let (Some(digest), Some(from)) = (parameters.get("mount"), parameters.get("from")) {
        let (digest, from) = (digest.parse::<Digest>()?, RepositoryName::new(from)?);
        // Without access the answer is as if `from` did not have the blob: an ordinary upload begins.
        let readable = registry
            .inner
            .auth
            .authorize(credentials, Some(&from), Action::Pull)
            .await
            .is_ok();
        if readable && registry.mount(&from, &repository, &digest).await? == Mounted::Done {
            return created(&repository, &digest);
        }
    } else if let Some(digest) = parameters.get("digest") {
        let digest = digest.parse::<Digest>()?;
        let _slot = registry.upload_slot().await?;
        let upload = registry
            .inner
            .uploads
            .create(&repository, registry.inner.limits.uploads_per_repository)
            .await?;
        return match transfer(&registry, upload, request).await {
            Ok(upload) => {
                registry.finish(&repository, upload, &digest).await?;
                created(&repository, &digest)
            }
            Err((upload, fault)) => {
                // The client never learnt the upload's name, so it cannot go on with it.
                discard(upload).await?;
                Err(fault)
            }
        };
    }
    let upload = registry
        .inner
        .uploads
        .create(&repository, registry.inner.limits.uploads_per_repository)
        .await?;
    progress(StatusCode::ACCEPTED, &repository, upload.id(), 0)
}

/// `PATCH`: one more chunk.
pub(super) async fn chunk(granted: Granted, id: &str) -> Result<Response, RegistryError> {
    let Granted {
        registry,
        repository,
        request,
        ..
    } = granted;
    let id: UploadId = id.parse()?;
    let _slot = registry.upload_slot().await?;
    let upload = registry.inner.uploads.open(&repository, &id).await?;
    let upload = append(&registry, &repository, upload, request).await?;
    progress(StatusCode::ACCEPTED, &repository, &id, upload.offset())
}

/// `PUT`: the last chunk, which may be empty, and the digest of the whole.
pub(super) async fn complete(granted: Granted, id: &str) -> Result<Response, RegistryError> {
    let Granted {
        registry,
        repository,
        request,
        ..
    } = granted;
    let id: UploadId = id.parse()?;
    let parameters = Parameters::of(request.uri());
    let digest: Digest = parameters
        .get("digest")
        .ok_or(RegistryError::DigestMissing)?
        .parse()?;
    let _slot = registry.upload_slot().await?;
    let upload = registry.inner.uploads.open(&repository, &id).await?;
    let upload = append(&registry, &repository, upload, request).await?;
    registry.finish(&repository, upload, &digest).await?;
    created(&repository, &digest)
}

/// `GET`: where the upload stands.
pub(super) async fn status(granted: Granted, id: &str) -> Result<Response, RegistryError> {
    let id: UploadId = id.parse()?;
    let offset = granted
        .registry
        .inner
        .uploads
        .offset(&granted.repository, &id)
        .await?;
    progress(StatusCode::NO_CONTENT, &granted.repository, &id, offset)
}

/// `DELETE`: give up.
pub(super) async fn cancel(granted: Granted, id: &str) -> Result<Response, RegistryError> {
    let upload = granted
        .registry
        .inner
        .uploads
        .open(&granted.repository, &id.parse()?)
        .await?;
    discard(Some(upload)).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Appends the request's body where its `Content-Range` says, or at the end.
async fn append(
    registry: &Registry,
    repository: &RepositoryName,
    upload: OpenUpload,
    request: Request,
) -> Result<OpenUpload, RegistryError> {
    if let Some((start, _end)) = chunk_range(request.headers())?
        && start != upload.offset()
    {
        let location = location(repository, upload.id());
        return Err(RegistryError::OffsetMismatch {
            offset: upload.offset(),
            location,
        });
    }
    match transfer(registry, upload, request).await {
        Ok(upload) => Ok(upload),
        Err((upload, fault)) => {
            // What can never become a blob is not kept; a full disk is freed at once.
            if matches!(
                fault,
                RegistryError::StorageFull | RegistryError::BlobTooLarge { .. }
            ) {
                discard(upload).await?;
            }
            Err(fault)
        }
    }
}

async fn transfer(
    registry: &Registry,
    upload: OpenUpload,
    request: Request,
) -> Result<OpenUpload, (Option<OpenUpload>, RegistryError)> {
    let limits = &registry.inner.limits;
    let announced = match chunk_range(request.headers()) {
        Ok(range) => range.map(|(start, end)| end - start + 1),
        Err(fault) => return Err((Some(upload), fault)),
    };
    let length = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|n| upload.offset().saturating_add(n) > limits.blob_bytes) {
        return Err((
            Some(upload),
            RegistryError::BlobTooLarge {
                most: limits.blob_bytes,
            },
        ));
    }
    let bounds = Bounds {
        blob_bytes: limits.blob_bytes,
        idle: limits.transfer_idle,
        announced,
    };
    match receive(upload, request.into_body().into_data_stream(), &bounds).await {
        Received::Whole(upload) => Ok(upload),
        Received::Broken(upload, fault) => Err((upload, fault)),
    }
}

/// `Content-Range: <first>-<last>`: the distribution specification leaves out the unit; a `bytes ` in front is
/// tolerated.
fn chunk_range(headers: &HeaderMap) -> Result<Option<(u64, u64)>, RegistryError> {
    const INVALID: RegistryError =
        RegistryError::UploadInvalid("Content-Range must be FIRST-LAST in bytes");
    let Some(value) = headers.get(CONTENT_RANGE) else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| INVALID)?;
    let text = text.strip_prefix("bytes ").unwrap_or(text);
    let (first, last) = text.split_once('-').ok_or(INVALID)?;
    let number = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        digits
            .then(|| text.parse::<u64>().ok())
            .flatten()
            .filter(|n| *n < u64::MAX)
            .ok_or(INVALID)
    };
    let (first, last) = (number(first)?, number(last)?);
    if first <= last {
        Ok(Some((first, last)))
    } else {
        Err(INVALID)
    }
}

async fn discard(upload: Option<OpenUpload>) -> Result<(), RegistryError> {
    let Some(upload) = upload else { return Ok(()) };
    blocking(move || upload.remove())
        .await?
        .map_err(|source| RegistryError::io("remove an upload", source))
}

fn location(repository: &RepositoryName, id: &UploadId) -> String {
    format!("/v2/{repository}/blobs/uploads/{}", id.as_str())
}

fn progress(
    status: StatusCode,
    repository: &RepositoryName,
    id: &UploadId,
    offset: u64,
) -> Result<Response, RegistryError> {
    let mut response = empty(status);
    let headers = response.headers_mut();
    headers.insert(LOCATION, header(&location(repository, id))?);
    headers.insert(RANGE, received_range(offset));
    headers.insert(UPLOAD_ID, header(id.as_str())?);
    Ok(response)
}

fn created(repository: &RepositoryName, digest: &Digest) -> Result<Response, RegistryError> {
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(
        LOCATION,
        header(&format!("/v2/{repository}/blobs/{digest}"))?,
    );
    headers.insert(CONTENT_DIGEST, header(&digest.to_string())?);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn chunk_ranges() {
        let parse = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, HeaderValue::from_static(text));
            chunk_range(&headers)
        };
        assert_eq!(parse("0-9").unwrap(), Some((0, 9)));
        assert_eq!(parse("bytes 5-5").unwrap(), Some((5, 5)));
        for bad in [
            "",
            "-",
            "1-",
            "-1",
            "9-0",
            "a-b",
            "+1-2",
            "0-18446744073709551615",
            "0-9/10",
            "0-1-2",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
