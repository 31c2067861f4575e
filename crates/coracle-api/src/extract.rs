//! Extractors that answer with problems: what a request says is parsed here, or refused with the field's name.

use std::marker::PhantomData;
use std::net::SocketAddr;

use axum::body::Bytes;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, MatchedPath, Request};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use coracle_model::name::ImageRef;
use coracle_model::object::{Kind, Metadata, Object};
use coracle_model::problem::{Code, Problem};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{ApiError, ApiResult};

/// The most of a parser's message that is answered, in bytes.
const MOST_MESSAGE: usize = 500;

/// Path parameters.
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                Err(path_problem(parts, error.into_kind()).into())
            }
            Err(_) => Err(ApiError::new(
                Code::InvalidRequest,
                "the path cannot be read",
            )),
        }
    }
}

/// What is wrong with a path, without repeating what was sent: that may be long and hostile. The message is the
/// type's own, which shows its input shortened and escaped.
fn path_problem(parts: &Parts, kind: ErrorKind) -> Problem {
    let (name, detail) = match kind {
        ErrorKind::DeserializeError { key, message, .. } => (Some(key), message),
        ErrorKind::InvalidUtf8InPathParam { key } => (Some(key), "it is not UTF-8".to_owned()),
        // A path with one parameter: axum does not say which.
        ErrorKind::Message(message) => (only_parameter(parts), message),
        _ => (None, "the path cannot be read".to_owned()),
    };
    Problem::new(Code::InvalidField, detail).field(name.unwrap_or_else(|| "path".to_owned()))
}

fn only_parameter(parts: &Parts) -> Option<String> {
    let route = parts.extensions.get::<MatchedPath>()?.as_str();
    let (_, rest) = route.rsplit_once('{')?;
    let (name, _) = rest.split_once('}')?;
    Some(name.trim_start_matches('*').to_owned())
}

/// The name by which whoever asks reached the API, as it stands before an image's name: the registry is there too. A
/// proxy passes it on. Nothing where it is no such name.
pub(crate) struct ReachedAs(pub(crate) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for ReachedAs {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let host = parts.headers.get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok());
        Ok(Self(host.and_then(registry_name)))
    }
}

/// Without a dot or a port the first part of an image's name is no registry.
fn registry_name(host: &str) -> Option<String> {
    let names = host == "localhost" || host.contains(['.', ':']);
    let plain = !host.contains(['/', '@']) && ImageRef::new(format!("{host}/a")).is_ok();
    (names && plain).then(|| host.to_ascii_lowercase())
}

/// Query parameters.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(error) => Err(query_problem(&error.body_text()).into()),
        }
    }
}

/// What is wrong with a query. The text is axum's: what it was about, then the parameter, then what was wrong.
fn query_problem(text: &str) -> Problem {
    let text = text
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(text);
    let parameter =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let (field, detail) = text
        .split_once(": ")
        .filter(|(name, _)| parameter(name))
        .unwrap_or(("query", text));
    let code = if detail.starts_with("unknown field") {
        Code::UnknownField
    } else {
        Code::InvalidField
    };
    Problem::new(code, bounded(detail.to_owned())).field(field)
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
                Code::UnsupportedMediaType,
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

/// Something that must be written as a JSON object. The derived parsers would take an array of the fields' values too.
struct AnObject<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for AnObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        an_object(deserializer).map(Self)
    }
}

fn an_object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    struct Fields<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
        type Value = T;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(fields))
        }
    }

    from.deserialize_map(Fields(PhantomData))
}

/// `invalid type: string "hunter2", expected a map` without the value, which may be a secret in the wrong place.
fn without_value(message: String) -> String {
    for prefix in ["invalid type: ", "invalid value: "] {
        let Some(rest) = message.strip_prefix(prefix) else {
            continue;
        };
        if let Some(at) = rest.rfind(", expected ") {
            let kind: Vec<&str> = rest[..at]
                .split(' ')
                .take_while(|word| !word.starts_with(['"', '`']))
                .collect();
            return format!("{prefix}{}{}", kind.join(" "), &rest[at..]);
        }
    }
    message
}

/// Messages of parsers repeat what was sent, of whatever length.
fn bounded(mut message: String) -> String {
    let end = message.floor_char_boundary(MOST_MESSAGE);
    if end < message.len() {
        message.truncate(end);
        message.push('…');
    }
    message
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> ApiResult<T> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let AnObject(value) = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let text = without_value(inner.to_string());
        let detail = bounded(text.clone());
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
                    problem.field(bounded(path))
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
#[serde(deny_unknown_fields, bound = "S: Deserialize<'de>")]
pub(crate) struct Input<S> {
    /// The kind; must be the right one when it is there.
    #[serde(default)]
    pub(crate) kind: Option<Kind>,
    /// The name, and the revision that was read.
    #[serde(default, deserialize_with = "an_object")]
    pub(crate) metadata: InputMetadata,
    /// What is asked for. May be left out where everything in it has a default.
    #[serde(default = "none", deserialize_with = "some_object")]
    spec: Option<S>,
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

const fn none<S>() -> Option<S> {
    None
}

fn some_object<'de, D, S>(deserializer: D) -> Result<Option<S>, D::Error>
where
    D: serde::Deserializer<'de>,
    S: Deserialize<'de>,
{
    an_object(deserializer).map(Some)
}

fn needed<S>(spec: Option<S>) -> ApiResult<S> {
    spec.ok_or_else(|| {
        Problem::new(Code::InvalidField, "a spec is needed")
            .field("spec")
            .into()
    })
}

impl<S> Input<S> {
    /// The name and spec of an object to be made.
    pub(crate) fn into_new<N>(self, kind: Kind) -> ApiResult<(N, S)>
    where
        N: TryFrom<String, Error = coracle_model::name::InvalidName>,
    {
        let (name, spec) = self.into_named(kind)?;
        Ok((name, needed(spec)?))
    }

    /// The name and spec of an object to be made, of which everything but the name may be left out.
    pub(crate) fn into_new_or_default<N>(self, kind: Kind) -> ApiResult<(N, S)>
    where
        N: TryFrom<String, Error = coracle_model::name::InvalidName>,
        S: Default,
    {
        let (name, spec) = self.into_named(kind)?;
        Ok((name, spec.unwrap_or_default()))
    }

    fn into_named<N>(self, kind: Kind) -> ApiResult<(N, Option<S>)>
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
        Ok((needed(self.spec)?, revision))
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
