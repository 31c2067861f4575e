//! The HTTP face: routes, credentials, and one handler file per resource.
//!
//! Theory of operation: repository names have slashes, so the path is parsed by hand ([`route`]) and the request
//! handed to the resource's handler. Before anything else the authorizer is asked, also for paths that make
//! no sense: who has no access learns nothing. Errors are turned into responses in one place.

mod blob;
mod credentials;
mod listing;
mod manifest;
mod query;
mod route;
mod upload;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::header::X_CONTENT_TYPE_OPTIONS;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::access::{Action, Credentials};
use crate::error::RegistryError;
use crate::registry::Registry;
use crate::repository::RepositoryName;

use route::{Resource, Route};

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

const METHOD_NOT_SERVED: RegistryError =
    RegistryError::Unsupported("this method is not served here");

pub(crate) fn router(registry: Registry) -> Router {
    Router::new()
        .route("/v2", any(serve))
        .route("/v2/", any(serve))
        .route("/v2/{*path}", any(serve))
        .with_state(registry)
}

async fn serve(State(registry): State<Registry>, request: Request) -> Response {
    let mut response = match dispatch(registry, request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    // Content is anybody's and served beside the dashboard: no browser may guess that it is a page.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A request whose path was parsed and whose bearer may do what it asks.
pub(crate) struct Granted {
    pub(crate) registry: Registry,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) repository: RepositoryName,
    pub(crate) request: Request,
}

async fn dispatch(registry: Registry, request: Request) -> Result<Response, RegistryError> {
    let credentials = credentials::of(request.headers())?;
    let auth = Arc::clone(&registry.inner.auth);
    let (repository, resource) = match route::parse(request.uri().path()) {
        Ok(Route::Base) => {
            auth.authorize(credentials, None, Action::Pull).await?;
            return base(request.method());
        }
        Ok(Route::Catalog) => {
            auth.authorize(credentials.clone(), None, Action::List)
                .await?;
            return match *request.method() {
                Method::GET => listing::catalog(&registry, credentials, request.uri()).await,
                _ => Err(METHOD_NOT_SERVED),
            };
        }
        Ok(Route::Repository(repository, resource)) => (repository, resource),
        Err(error) => {
            auth.authorize(credentials, None, Action::Pull).await?;
            return Err(error);
        }
    };
    let method = request.method().clone();
    let action = resource.action(&method);
    auth.authorize(credentials.clone(), Some(&repository), action)
        .await?;
    let granted = Granted {
        registry,
        credentials,
        repository,
        request,
    };
    match (resource, method) {
        (Resource::Tags, Method::GET) => listing::tags(granted).await,
        (Resource::Manifest(reference), Method::GET | Method::HEAD) => {
            manifest::get(granted, &reference).await
        }
        (Resource::Manifest(reference), Method::PUT) => manifest::put(granted, &reference).await,
        (Resource::Manifest(reference), Method::DELETE) => {
            manifest::delete(granted, &reference).await
        }
        (Resource::Referrers(digest), Method::GET) => listing::referrers(granted, &digest).await,
        (Resource::Blob(digest), Method::GET | Method::HEAD) => blob::get(granted, &digest).await,
        (Resource::Blob(_), Method::DELETE) => Err(RegistryError::Unsupported(
            "blobs are removed by garbage collection when no manifest needs them",
        )),
        (Resource::Uploads, Method::POST) => upload::begin(granted).await,
        (Resource::Upload(id), Method::GET) => upload::status(granted, &id).await,
        (Resource::Upload(id), Method::PATCH) => upload::chunk(granted, &id).await,
        (Resource::Upload(id), Method::PUT) => upload::complete(granted, &id).await,
        (Resource::Upload(id), Method::DELETE) => upload::cancel(granted, &id).await,
        _ => Err(METHOD_NOT_SERVED),
    }
}

fn base(method: &Method) -> Result<Response, RegistryError> {
    match *method {
        Method::GET | Method::HEAD => Ok(axum::Json(serde_json::json!({})).into_response()),
        _ => Err(METHOD_NOT_SERVED),
    }
}

/// An answer without a body.
fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A header made of parsed names and numbers, which are always legal in one.
fn header(value: &str) -> Result<HeaderValue, RegistryError> {
    HeaderValue::from_str(value).map_err(|e| RegistryError::Io {
        what: "write a response header",
        source: std::io::Error::other(e),
    })
}
