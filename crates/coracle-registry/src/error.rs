//! What can go wrong, once as a type for callers and once as the specification's JSON for clients.
//!
//! Theory of operation: the status says who must act. 4xx is the client's, with a message that says what is allowed;
//! 507 is the operator's (the disk is full), 5xx otherwise ours: the client gets no detail then, the log gets the whole chain of causes.

use std::error::Error as StdError;
use std::io;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_RANGE, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::access::Denied;
use crate::digest::{Digest, InvalidDigest};
use crate::repository::InvalidReference;

/// Codes of the distribution specification, and the few that other registries have added and clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(
    missing_docs,
    reason = "the names are the specification's own and explained there"
)]
pub enum ErrorCode {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    PaginationNumberInvalid,
    SizeInvalid,
    TagInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    #[serde(rename = "TOOMANYREQUESTS")]
    TooManyRequests,
    Unknown,
}

/// Everything that an operation of the registry can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The authorizer said no.
    #[error("{0}")]
    Denied(#[from] Denied),
    /// A name in the request does not follow the grammar.
    #[error("{0}")]
    Reference(#[from] InvalidReference),
    /// A digest does not follow the grammar, or its algorithm is not known.
    #[error("{0}")]
    Digest(#[from] InvalidDigest),
    /// What was sent has another digest than the request says.
    #[error("the content has digest {actual}, the request says {expected}")]
    DigestMismatch {
        /// From the request.
        expected: Digest,
        /// Of what was sent.
        actual: Digest,
    },
    /// `PUT` of an upload without the parameter `digest`.
    #[error("the parameter digest is missing")]
    DigestMissing,
    /// No such repository, or nothing in it.
    #[error("no repository of that name")]
    NameUnknown,
    /// The repository does not have this blob.
    #[error("the repository has no blob {0}")]
    BlobUnknown(Digest),
    /// No such upload in this repository: never begun, finished, cancelled or swept.
    #[error("no such upload; begin a new one")]
    UploadUnknown,
    /// Another request is writing to the same upload.
    #[error("another request is writing to this upload")]
    UploadBusy,
    /// The data of an upload cannot be taken.
    #[error("{0}")]
    UploadInvalid(&'static str),
    /// A chunk does not begin where the upload stands.
    #[error("the upload stands at byte {offset}; send the chunk that begins there")]
    OffsetMismatch {
        /// Bytes that the upload has.
        offset: u64,
        /// Where to go on.
        location: String,
    },
    /// The client stopped sending, or the connection broke.
    #[error("the data ended before its end: {0}")]
    Interrupted(&'static str),
    /// A blob is bigger than [`crate::Limits::blob_bytes`].
    #[error("a blob may have at most {most} bytes")]
    BlobTooLarge {
        /// Bytes allowed.
        most: u64,
    },
    /// A range of a blob that does not exist.
    #[error("the blob has {size} bytes; the range lies outside")]
    RangeNotSatisfiable {
        /// Bytes of the blob.
        size: u64,
    },
    /// A manifest is bigger than [`crate::Limits::manifest_bytes`].
    #[error("a manifest may have at most {most} bytes")]
    ManifestTooLarge {
        /// Bytes allowed.
        most: usize,
    },
    /// A manifest cannot be taken.
    #[error("{0}")]
    ManifestInvalid(String),
    /// Content that a manifest names is not in its repository: push it first.
    #[error("the manifest names content that is not in this repository; push it first")]
    ManifestBlobUnknown(Vec<Digest>),
    /// No such tag or manifest in this repository.
    #[error("the repository has no manifest {0}")]
    ManifestUnknown(String),
    /// The parameter `n` of a listing.
    #[error("the parameter n must be a whole number that is not negative")]
    PageInvalid,
    /// The request is not one that this registry serves.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A collection goes on already.
    #[error("a collection of the registry goes on already")]
    Collecting,
    /// It cannot be found out which images are needed.
    #[error("it is not known which images are needed")]
    Needed(#[source] Box<dyn StdError + Send + Sync>),
    /// Somebody relies on the image.
    #[error("{0}")]
    InUse(String),
    /// No such path.
    #[error(
        "no such resource; the registry serves the paths of the OCI distribution specification below /v2/"
    )]
    NoRoute,
    /// A bound of [`crate::Limits`] is reached for now.
    #[error("{0}; try again later")]
    TooMany(&'static str),
    /// The disk, or the quota on it, is full.
    #[error("the registry's storage is full; the upload was not kept")]
    StorageFull,
    /// A record in the store cannot be read.
    #[error("the record {key} cannot be read")]
    Corrupt {
        /// Where it lies.
        key: String,
        /// What is wrong with it, when it is not its size or version.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// The object store failed.
    #[error("could not {what}")]
    Store {
        /// What was being done.
        what: &'static str,
        /// The store's own words.
        #[source]
        source: object_store::Error,
    },
    /// A local file failed.
    #[error("could not {what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's own words.
        #[source]
        source: io::Error,
    },
}

/// Does the chain of causes end in a full disk?
fn is_storage_full(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(e) = cause.downcast_ref::<io::Error>()
            && matches!(
                e.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        {
            return true;
        }
        next = cause.source();
    }
    false
}

impl RegistryError {
    pub(crate) fn store(what: &'static str, source: object_store::Error) -> Self {
        if is_storage_full(&source) {
            Self::StorageFull
        } else {
            Self::Store { what, source }
        }
    }

    pub(crate) fn io(what: &'static str, source: io::Error) -> Self {
        if is_storage_full(&source) {
            Self::StorageFull
        } else {
            Self::Io { what, source }
        }
    }

    /// The code that clients get.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Denied(Denied::Unauthenticated) => ErrorCode::Unauthorized,
            Self::Denied(Denied::Forbidden) => ErrorCode::Denied,
            Self::Reference(e) if e.what == "tag" => ErrorCode::TagInvalid,
            Self::Reference(e) if e.what == "digest" => ErrorCode::DigestInvalid,
            Self::Reference(_) => ErrorCode::NameInvalid,
            Self::Digest(_) | Self::DigestMismatch { .. } | Self::DigestMissing => {
                ErrorCode::DigestInvalid
            }
            Self::NameUnknown => ErrorCode::NameUnknown,
            Self::BlobUnknown(_) => ErrorCode::BlobUnknown,
            Self::UploadUnknown => ErrorCode::BlobUploadUnknown,
            Self::UploadBusy
            | Self::UploadInvalid(_)
            | Self::OffsetMismatch { .. }
            | Self::Interrupted(_) => ErrorCode::BlobUploadInvalid,
            Self::BlobTooLarge { .. } | Self::RangeNotSatisfiable { .. } => ErrorCode::SizeInvalid,
            Self::ManifestTooLarge { .. } | Self::ManifestInvalid(_) => ErrorCode::ManifestInvalid,
            Self::ManifestBlobUnknown(_) => ErrorCode::ManifestBlobUnknown,
            Self::ManifestUnknown(_) => ErrorCode::ManifestUnknown,
            Self::PageInvalid => ErrorCode::PaginationNumberInvalid,
            Self::Unsupported(_) | Self::NoRoute => ErrorCode::Unsupported,
            Self::InUse(_) => ErrorCode::Denied,
            Self::TooMany(_) | Self::Collecting => ErrorCode::TooManyRequests,
            Self::Denied(Denied::Unavailable)
            | Self::StorageFull
            | Self::Needed(_)
            | Self::Corrupt { .. }
            | Self::Store { .. }
            | Self::Io { .. } => ErrorCode::Unknown,
        }
    }

    /// The HTTP status that clients get.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Denied(Denied::Unauthenticated) => StatusCode::UNAUTHORIZED,
            Self::Denied(Denied::Forbidden) => StatusCode::FORBIDDEN,
            Self::Denied(Denied::Unavailable) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Reference(_)
            | Self::Digest(_)
            | Self::DigestMismatch { .. }
            | Self::DigestMissing
            | Self::UploadInvalid(_)
            | Self::Interrupted(_)
            | Self::ManifestInvalid(_)
            | Self::PageInvalid => StatusCode::BAD_REQUEST,
            Self::NameUnknown
            | Self::BlobUnknown(_)
            | Self::UploadUnknown
            | Self::ManifestUnknown(_)
            | Self::ManifestBlobUnknown(_)
            | Self::NoRoute => StatusCode::NOT_FOUND,
            Self::UploadBusy | Self::Collecting | Self::InUse(_) => StatusCode::CONFLICT,
            Self::OffsetMismatch { .. } | Self::RangeNotSatisfiable { .. } => {
                StatusCode::RANGE_NOT_SATISFIABLE
            }
            Self::BlobTooLarge { .. } | Self::ManifestTooLarge { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Unsupported(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Needed(_) | Self::Corrupt { .. } | Self::Store { .. } | Self::Io { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}

#[derive(Serialize)]
struct Body {
    errors: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    code: ErrorCode,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<serde_json::Value>,
}

/// Digests shown in the detail of one error; the rest is counted by the client's next try.
const DETAILS_MOST: usize = 32;

impl IntoResponse for RegistryError {
    fn into_response(self) -> Response {
        let (status, code) = (self.status(), self.code());
        if status.is_server_error() {
            tracing::error!(error = &self as &dyn StdError, "registry request failed");
        }
        let mut errors = vec![Entry {
            code,
            message: self.to_string(),
            detail: None,
        }];
        if let Self::ManifestBlobUnknown(digests) = &self {
            errors = digests
                .iter()
                .take(DETAILS_MOST)
                .map(|digest| Entry {
                    code,
                    message: self.to_string(),
                    detail: Some(serde_json::json!({ "digest": digest })),
                })
                .collect();
        }
        let mut response = (status, Json(Body { errors })).into_response();
        let headers = response.headers_mut();
        match &self {
            Self::Denied(Denied::Unauthenticated) => {
                headers.insert(
                    WWW_AUTHENTICATE,
                    HeaderValue::from_static("Basic realm=\"coracle\""),
                );
            }
            Self::TooMany(_) | Self::Denied(Denied::Unavailable) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Self::OffsetMismatch { offset, location } => {
                headers.insert(RANGE, received_range(*offset));
                if let Ok(location) = HeaderValue::from_str(location) {
                    headers.insert(LOCATION, location);
                }
            }
            Self::RangeNotSatisfiable { size } => {
                if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
                    headers.insert(CONTENT_RANGE, value);
                }
            }
            _ => {}
        }
        response
    }
}

/// The `Range` header that tells how much of an upload has come: its last byte is included. (There is no way to say
/// "nothing" in it; `0-0` is what other registries say and clients expect.)
pub(crate) fn received_range(offset: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("0-{}", offset.saturating_sub(1)))
        .unwrap_or_else(|_| HeaderValue::from_static("0-0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_checked_now_is_worth_another_try() {
        let answer = RegistryError::from(Denied::Unavailable).into_response();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key(RETRY_AFTER));
        assert!(!answer.headers().contains_key(WWW_AUTHENTICATE));
    }

    #[test]
    fn a_full_disk_is_found_below_the_store_s_own_error() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(
            RegistryError::io("x", full()),
            RegistryError::StorageFull
        ));
        let wrapped = object_store::Error::Generic {
            store: "x",
            source: Box::new(full()),
        };
        assert!(matches!(
            RegistryError::store("x", wrapped),
            RegistryError::StorageFull
        ));
        let other = object_store::Error::Generic {
            store: "x",
            source: "y".into(),
        };
        assert!(matches!(
            RegistryError::store("x", other),
            RegistryError::Store { .. }
        ));
    }

    #[test]
    fn codes_are_spelled_as_in_the_specification() {
        let text = |code| serde_json::to_string(&code).unwrap();
        assert_eq!(text(ErrorCode::TooManyRequests), "\"TOOMANYREQUESTS\"");
        assert_eq!(
            text(ErrorCode::ManifestBlobUnknown),
            "\"MANIFEST_BLOB_UNKNOWN\""
        );
    }
}
