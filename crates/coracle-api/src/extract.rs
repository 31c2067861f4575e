//! Extractors that answer with problems: what a request says is parsed here, or refused with the field's name.

use std::net::SocketAddr;

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use coracle_model::object::{Kind, Metadata, Object};
use coracle_model::problem::{Code, Problem};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, ApiResult};

/// Path parameters.
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                let text = error.body_text();
                let detail = text
                    .strip_prefix("Invalid URL: ")
                    .unwrap_or(&text)
                    .to_owned();
                Err(Problem::new(Code::InvalidField, detail)
                    .field("path")
                    .into())
            }
            Err(error) => Err(ApiError::new(Code::InvalidRequest, error.body_text())),
        }
    }
}

/// Query parameters.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(QueryRejection::FailedToDeserializeQueryString(error)) => {
                Err(Problem::new(Code::InvalidField, error.body_text())
                    .field("query")
                    .into())
            }
            Err(error) => Err(ApiError::new(Code::InvalidRequest, error.body_text())),
        }
    }
}

/// A JSON body, and a JSON answer.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let is_json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_none_or(|value| {
                let essence = value.split(';').next().unwrap_or_default().trim();
                essence.eq_ignore_ascii_case("application/json")
                    || essence.to_ascii_lowercase().ends_with("+json")
            });
        if !is_json {
            return Err(ApiError::new(
                Code::InvalidRequest,
                "the body must be JSON (Content-Type: application/json)",
            ));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|error| {
            if error.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
                ApiError::new(Code::TooLarge, "the body is larger than 1 MiB")
            } else {
                ApiError::new(Code::InvalidRequest, "the body could not be read")
            }
        })?;
        parse_json(&bytes).map(Self)
    }
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> ApiResult<T> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let text = inner.to_string();
        let detail = text.clone();
        match inner.classify() {
            serde_json::error::Category::Data => {
                let code = if text.starts_with("unknown field") {
                    Code::UnknownField
                } else {
                    Code::InvalidField
                };
                let problem = Problem::new(code, detail);
                ApiError::from(if path == "." {
                    problem
                } else {
                    problem.field(path)
                })
            }
            _ if bytes.is_empty() => {
                ApiError::new(Code::InvalidRequest, "the body is empty; it must be JSON")
            }
            _ => ApiError::new(
                Code::InvalidRequest,
                format!("the body is no valid JSON: {detail}"),
            ),
        }
    })?;
    reader.end().map_err(|error| {
        ApiError::new(
            Code::InvalidRequest,
            format!("the body is no valid JSON: {error}"),
        )
    })?;
    Ok(value)
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// The address that the request came from, where the server knows it.
pub(crate) struct Peer(pub(crate) Option<SocketAddr>);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(
            parts
                .extensions
                .get::<ConnectInfo<SocketAddr>>()
                .map(|ConnectInfo(peer)| *peer),
        ))
    }
}

/// The revision in `If-Match`, if the caller sent one.
pub(crate) struct IfMatch(pub(crate) Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            return Ok(Self(None));
        };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let number = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
        number
            .parse()
            .map(|revision| Self(Some(revision)))
            .map_err(|_not_a_number| {
                Problem::new(
                    Code::InvalidField,
                    "If-Match is a revision, as metadata.revision says it",
                )
                .field("If-Match")
                .into()
            })
    }
}

/// An object as a caller sends it. What the platform sets (`status`, most of `metadata`) may be there, so that
/// an object can be sent back as it was read, and is not looked at.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input<S> {
    /// The kind; must be the right one when it is there.
    #[serde(default)]
    pub(crate) kind: Option<Kind>,
    /// The name, and the revision that was read.
    #[serde(default)]
    pub(crate) metadata: InputMetadata,
    /// What is asked for.
    pub(crate) spec: S,
    /// Not looked at.
    #[serde(default, rename = "status")]
    _status: Option<serde_json::Value>,
}

/// The metadata that a caller sends.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct InputMetadata {
    /// The name.
    pub(crate) name: Option<String>,
    /// The project; must be that of the path when it is there.
    pub(crate) project: Option<String>,
    /// The revision that was read; as `If-Match`.
    pub(crate) revision: Option<u64>,
    /// Not looked at.
    #[serde(rename = "uid")]
    _uid: Option<String>,
    /// Not looked at.
    #[serde(rename = "created")]
    _created: Option<String>,
    /// Not looked at.
    #[serde(rename = "deleting")]
    _deleting: Option<String>,
}

impl<S> Input<S> {
    /// The name and spec of an object to be made.
    pub(crate) fn into_new<N>(self, kind: Kind) -> ApiResult<(N, S)>
    where
        N: TryFrom<String, Error = coracle_model::name::InvalidName>,
    {
        self.check_kind(kind)?;
        let Some(name) = self.metadata.name else {
            return Err(Problem::new(Code::InvalidField, "a name is needed")
                .field("metadata.name")
                .into());
        };
        let name = N::try_from(name).map_err(|error| {
            Problem::new(Code::InvalidField, error.to_string()).field("metadata.name")
        })?;
        Ok((name, self.spec))
    }

    /// The spec of an object to be changed, and the revision that the caller read.
    pub(crate) fn into_change(
        self,
        kind: Kind,
        name: &str,
        header: &IfMatch,
    ) -> ApiResult<(S, Option<u64>)> {
        self.check_kind(kind)?;
        if self
            .metadata
            .name
            .as_deref()
            .is_some_and(|sent| sent != name)
        {
            let problem = Problem::new(
                Code::InvalidField,
                "a name cannot be changed: it must be that of the path",
            );
            return Err(problem.field("metadata.name").into());
        }
        let revision = header
            .0
            .or(self.metadata.revision.filter(|revision| *revision > 0));
        Ok((self.spec, revision))
    }

    fn check_kind(&self, kind: Kind) -> ApiResult<()> {
        if self.kind.is_some_and(|sent| sent != kind) {
            return Err(
                Problem::new(Code::InvalidField, format!("the kind here is {kind:?}"))
                    .field("kind")
                    .into(),
            );
        }
        Ok(())
    }

    /// Fails when the project in the metadata is not that of the path.
    pub(crate) fn in_project(self, project: &coracle_model::name::ProjectName) -> ApiResult<Self> {
        if self
            .metadata
            .project
            .as_deref()
            .is_some_and(|sent| sent != project.as_str())
        {
            let problem = Problem::new(Code::InvalidField, "the project must be that of the path");
            return Err(problem.field("metadata.project").into());
        }
        Ok(self)
    }
}

/// An object with its revision as `ETag`.
pub(crate) struct Tagged<S, T>(pub(crate) axum::http::StatusCode, pub(crate) Object<S, T>);

impl<S: Serialize, T: Serialize> IntoResponse for Tagged<S, T> {
    fn into_response(self) -> Response {
        let Metadata { revision, .. } = self.1.metadata;
        let tag = [(header::ETAG, format!("\"{revision}\""))];
        (self.0, tag, axum::Json(self.1)).into_response()
    }
}
