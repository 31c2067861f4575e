//! Listings: the catalog, a repository's tags, and referrers.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_TYPE, LINK};
use http::{HeaderName, HeaderValue, Uri};
use serde_json::json;

use super::query::Parameters;
use super::{Granted, header};
use crate::access::{Action, Credentials};
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::manifest::MediaType;
use crate::registry::Registry;

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Repositories that the bearer may list. Each is asked for, so that no other name is told.
pub(super) async fn catalog(
    registry: &Registry,
    credentials: Option<Credentials>,
    uri: &Uri,
) -> Result<Response, RegistryError> {
    let parameters = Parameters::of(uri);
    let limit = parameters.page(registry.inner.limits.page)?;
    let mut names = Vec::new();
    let mut more = false;
    for name in registry.repository_names(parameters.get("last")).await? {
        let allowed = registry
            .inner
            .auth
            .authorize(credentials.clone(), Some(&name), Action::List)
            .await;
        if allowed.is_err() || !registry.has_manifests(&name).await? {
            continue;
        }
        if names.len() == limit {
            more = limit > 0;
            break;
        }
        names.push(name);
    }
    let next = names
        .last()
        .filter(|_| more)
        .map(|last| format!("/v2/_catalog?n={limit}&last={last}"));
    with_next(Json(json!({ "repositories": names })).into_response(), next)
}

pub(super) async fn tags(granted: Granted) -> Result<Response, RegistryError> {
    let Granted {
        registry,
        repository,
        request,
        ..
    } = granted;
    let parameters = Parameters::of(request.uri());
    let limit = parameters.page(registry.inner.limits.page)?;
    let page = registry
        .tags(&repository, parameters.get("last"), limit)
        .await?;
    let last = page.items.last().filter(|_| page.more);
    let next = last.map(|last| format!("/v2/{repository}/tags/list?n={limit}&last={last}"));
    with_next(
        Json(json!({ "name": repository, "tags": page.items })).into_response(),
        next,
    )
}

pub(super) async fn referrers(granted: Granted, digest: &str) -> Result<Response, RegistryError> {
    let subject: Digest = digest.parse()?;
    let Granted {
        registry,
        repository,
        request,
        ..
    } = granted;
    let parameters = Parameters::of(request.uri());
    let kind = parameters.get("artifactType");
    let manifests = registry.referrers(&repository, &subject, kind).await?;
    let index =
        json!({ "schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": manifests });
    let mut response = Json(index).into_response();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(MediaType::OciIndex.as_str()),
    );
    if kind.is_some() {
        headers.insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

/// The names in the link need no encoding: their grammars have no character that means something in a query.
fn with_next(mut response: Response, next: Option<String>) -> Result<Response, RegistryError> {
    if let Some(next) = next {
        response
            .headers_mut()
            .insert(LINK, header(&format!("<{next}>; rel=\"next\""))?);
    }
    Ok(response)
}
