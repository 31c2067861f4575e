//! Who may call what.
//!
//! Theory of operation: every route of the API is in [`TABLE`] with what it takes to call it; the layer
//! [`guard`] looks the matched route up there. A route that is not in the table is closed to everybody, so
//! one that somebody forgot to classify fails at its first use, and a test compares the table with the
//! OpenAPI document before that. Project routes name the project in their path: it is checked here once and not in handlers.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use coracle_model::name::{ProjectName, shown};
use coracle_model::problem::{Code, Problem};
use coracle_model::user::Role;
use subtle::ConstantTimeEq as _;

use crate::caller::Caller;
use crate::credentials::{Carrier, Transport, presented};
use crate::error::{ApiError, ApiResult, for_strangers};
use crate::state::ApiState;

/// What it takes to call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing.
    Public,
    /// Any valid credentials; the handler shows only what the caller may see.
    SignedIn,
    /// A role in the project that the path names.
    Project(Role),
    /// A role that holds in all projects.
    Platform(Role),
    /// The gateways' own token.
    Gateway,
    /// A ticket that the handler itself takes.
    Ticket,
}

use Access::{Gateway, Platform, Project, Public, SignedIn, Ticket};
use Role::{Admin, Developer, Viewer};

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

/// Every route.
pub(crate) static TABLE: &[(Method, &str, Access)] = &[
    (GET, "/", Public),
    (GET, "/healthz", Public),
    (GET, "/readyz", Public),
    (GET, "/metrics", Platform(Viewer)),
    (GET, "/internal/v1/routes", Gateway),
    (POST, "/internal/v1/gateways/{gateway}", Gateway),
    (GET, "/internal/v1/build-source", Ticket),
    (GET, "/api/v1/openapi.json", Public),
    (POST, "/api/v1/session", Public),
    (GET, "/api/v1/session", SignedIn),
    (DELETE, "/api/v1/session", SignedIn),
    (GET, "/api/v1/users", Platform(Admin)),
    (POST, "/api/v1/users", Platform(Admin)),
    (GET, "/api/v1/users/{user}", Platform(Admin)),
    (PUT, "/api/v1/users/{user}", Platform(Admin)),
    (DELETE, "/api/v1/users/{user}", Platform(Admin)),
    (PUT, "/api/v1/users/{user}/password", SignedIn),
    (GET, "/api/v1/tokens", SignedIn),
    (POST, "/api/v1/tokens", SignedIn),
    (DELETE, "/api/v1/tokens/{token}", SignedIn),
    (GET, "/api/v1/projects", SignedIn),
    (POST, "/api/v1/projects", Platform(Admin)),
    (GET, "/api/v1/projects/{project}", Project(Viewer)),
    (PUT, "/api/v1/projects/{project}", Project(Admin)),
    (DELETE, "/api/v1/projects/{project}", Platform(Admin)),
    (GET, "/api/v1/projects/{project}/apps", Project(Viewer)),
    (POST, "/api/v1/projects/{project}/apps", Project(Developer)),
    (
        GET,
        "/api/v1/projects/{project}/apps/{app}",
        Project(Viewer),
    ),
    (
        PUT,
        "/api/v1/projects/{project}/apps/{app}",
        Project(Developer),
    ),
    (
        DELETE,
        "/api/v1/projects/{project}/apps/{app}",
        Project(Developer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/apps/{app}/builds",
        Project(Viewer),
    ),
    (
        POST,
        "/api/v1/projects/{project}/apps/{app}/builds",
        Project(Developer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/apps/{app}/builds/{build}",
        Project(Viewer),
    ),
    (
        POST,
        "/api/v1/projects/{project}/apps/{app}/builds/{build}/cancel",
        Project(Developer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/apps/{app}/builds/{build}/log",
        Project(Viewer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/apps/{app}/releases",
        Project(Viewer),
    ),
    (
        POST,
        "/api/v1/projects/{project}/apps/{app}/releases",
        Project(Developer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/apps/{app}/releases/{release}",
        Project(Viewer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/apps/{app}/scale",
        Project(Viewer),
    ),
    (
        PUT,
        "/api/v1/projects/{project}/apps/{app}/scale",
        Project(Developer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/apps/{app}/env",
        Project(Developer),
    ),
    (
        PATCH,
        "/api/v1/projects/{project}/apps/{app}/env",
        Project(Developer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/apps/{app}/domains",
        Project(Viewer),
    ),
    (
        POST,
        "/api/v1/projects/{project}/apps/{app}/domains",
        Project(Developer),
    ),
    (
        DELETE,
        "/api/v1/projects/{project}/apps/{app}/domains/{host}",
        Project(Developer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/apps/{app}/logs",
        Project(Viewer),
    ),
    (
        POST,
        "/api/v1/projects/{project}/apps/{app}/run",
        Project(Developer),
    ),
    (GET, "/api/v1/projects/{project}/sources", Project(Viewer)),
    (
        POST,
        "/api/v1/projects/{project}/sources",
        Project(Developer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/sources/{source}",
        Project(Viewer),
    ),
    (
        DELETE,
        "/api/v1/projects/{project}/sources/{source}",
        Project(Developer),
    ),
    (GET, "/api/v1/templates", SignedIn),
    (GET, "/api/v1/projects/{project}/pods", Project(Viewer)),
    (POST, "/api/v1/projects/{project}/pods", Project(Developer)),
    (
        GET,
        "/api/v1/projects/{project}/pods/{pod}",
        Project(Viewer),
    ),
    (
        PUT,
        "/api/v1/projects/{project}/pods/{pod}",
        Project(Developer),
    ),
    (
        DELETE,
        "/api/v1/projects/{project}/pods/{pod}",
        Project(Developer),
    ),
    (
        POST,
        "/api/v1/projects/{project}/pods/{pod}/restart",
        Project(Developer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/pods/{pod}/log",
        Project(Viewer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/pods/{pod}/stats",
        Project(Viewer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/pods/{pod}/exec",
        Project(Developer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/pods/{pod}/description",
        Project(Developer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/pods/{pod}/attach",
        Project(Developer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/pods/{pod}/connect",
        Project(Developer),
    ),
    (GET, "/api/v1/projects/{project}/volumes", Project(Viewer)),
    (
        DELETE,
        "/api/v1/projects/{project}/volumes/{volume}",
        Project(Developer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/apps/{app}/usage",
        Project(Viewer),
    ),
    (
        GET,
        "/api/v1/projects/{project}/pods/{pod}/usage",
        Project(Viewer),
    ),
    (GET, "/api/v1/nodes/{node}/usage", Platform(Viewer)),
    (GET, "/api/v1/system/usage", Platform(Viewer)),
    (GET, "/api/v1/usage", SignedIn),
    (GET, "/api/v1/pods", SignedIn),
    (GET, "/api/v1/nodes", Platform(Viewer)),
    (GET, "/api/v1/nodes/{node}", Platform(Viewer)),
    (POST, "/api/v1/nodes/{node}/cordon", Platform(Admin)),
    (POST, "/api/v1/nodes/{node}/uncordon", Platform(Admin)),
    (POST, "/api/v1/nodes/{node}/drain", Platform(Admin)),
    (DELETE, "/api/v1/nodes/{node}/drain", Platform(Admin)),
    (GET, "/api/v1/images", SignedIn),
    (GET, "/api/v1/images/{*repository}", SignedIn),
    (GET, "/api/v1/image", SignedIn),
    (DELETE, "/api/v1/image", SignedIn),
    (GET, "/api/v1/registry", Platform(Viewer)),
    (POST, "/api/v1/registry/collect", Platform(Admin)),
    (GET, "/api/v1/events", SignedIn),
    (GET, "/api/v1/activity", SignedIn),
    (GET, "/api/v1/system", Platform(Viewer)),
    (GET, "/api/v1/settings", Platform(Viewer)),
    (PUT, "/api/v1/settings", Platform(Admin)),
    (GET, "/api/v1/export", Platform(Admin)),
    (POST, "/api/v1/import", Platform(Admin)),
];

/// What it takes to call a route; `None` for one that is not classified.
pub(crate) fn classify(method: &Method, path: &str) -> Option<Access> {
    // HEAD is answered by the GET route.
    let method = if *method == Method::HEAD {
        &GET
    } else {
        method
    };
    TABLE
        .iter()
        .find(|(m, p, _)| m == method && *p == path)
        .map(|(_, _, access)| *access)
}

/// The layer in front of every handler.
pub(crate) async fn guard(
    State(state): State<ApiState>,
    matched: MatchedPath,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> ApiResult<Response> {
    let access = classify(request.method(), matched.as_str());
    match access {
        Some(Access::Public | Access::Ticket) => {
            let mut response = next.run(request).await;
            for_strangers(&mut response);
            return Ok(response);
        }
        Some(Access::Gateway) => authenticate_gateway(&state, request.headers())?,
        Some(access) => {
            let caller = authenticate(&state, request.method(), request.headers()).await;
            let caller = caller.map_err(ApiError::for_strangers)?;
            let Ok(params) = params else {
                let problem = Problem::new(Code::InvalidField, "the path is not UTF-8");
                return Err(problem.field("path").into());
            };
            let project = params.iter().find(|(name, _)| *name == "project");
            authorize(access, &caller, project.map(|(_, value)| value))?;
            request.extensions_mut().insert(caller);
        }
        None if !allowed(matched.as_str()).is_empty() => {
            let methods = allowed(matched.as_str());
            let detail = format!("{} is not possible here", shown(request.method().as_str()));
            return Err(ApiError::new(Code::MethodNotAllowed, detail)
                .hint(format!("possible are {methods}"))
                .allow(&methods));
        }
        None => {
            return Err(ApiError::new(
                Code::Forbidden,
                "this route is not open to anybody",
            ));
        }
    }
    Ok(next.run(request).await)
}

/// The methods that a path has, as `Allow` names them; empty for one that is not classified.
fn allowed(path: &str) -> String {
    let mut methods: Vec<&str> = TABLE
        .iter()
        .filter(|(_, p, _)| *p == path)
        .map(|(method, _, _)| method.as_str())
        .collect();
    if methods.contains(&GET.as_str()) {
        methods.push(Method::HEAD.as_str());
    }
    methods.join(", ")
}

/// Fails unless a request carries the gateways' own token.
fn authenticate_gateway(state: &ApiState, headers: &HeaderMap) -> ApiResult<()> {
    let (secret, carrier) = presented(headers).ok_or_else(ApiError::unauthenticated)?;
    let expected = state.gateway_token.expose().as_bytes();
    let same = bool::from(secret.expose().as_bytes().ct_eq(expected));
    // An empty token would be opened by an empty one.
    if same && !expected.is_empty() && carrier == Carrier::Header {
        Ok(())
    } else {
        Err(ApiError::unauthenticated())
    }
}

/// The caller whose credentials a request carries.
pub(crate) async fn authenticate(
    state: &ApiState,
    method: &Method,
    headers: &HeaderMap,
) -> ApiResult<Caller> {
    let (secret, carrier) = presented(headers).ok_or_else(ApiError::unauthenticated)?;
    if carrier == Carrier::Cookie {
        refuse_foreign_origin(method, headers)?;
    }
    state
        .authentication
        .caller(secret.expose())
        .await?
        .ok_or_else(ApiError::unauthenticated)
}

/// A browser sends the session's cookie whoever asks it to. So a request with one that changes something, or
/// opens a WebSocket, must come from the dashboard's own pages. Browsers say so themselves in `Sec-Fetch-Site`, which no
/// page can forge; older ones name the page's origin, which must be this host, and not without TLS where this is with.
/// Programs send neither.
fn refuse_foreign_origin(method: &Method, headers: &HeaderMap) -> ApiResult<()> {
    if method.is_safe() && !headers.contains_key(header::UPGRADE) {
        return Ok(());
    }
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let by_browser = headers
        .get("sec-fetch-site")
        .map(|site| site == "same-origin" || site == "none");
    let by_origin = headers.get(header::ORIGIN).map(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        let tls = Transport::of(headers) == Transport::Tls;
        origin.split_once("://").is_some_and(|(scheme, authority)| {
            authority.eq_ignore_ascii_case(host) && (!tls || scheme.eq_ignore_ascii_case("https"))
        })
    });
    if by_browser != Some(false) && by_origin != Some(false) {
        return Ok(());
    }
    Err(ApiError::new(
        Code::Forbidden,
        "the request comes from a page of another origin",
    ))
}

fn authorize(access: Access, caller: &Caller, project: Option<&str>) -> ApiResult<()> {
    let needed = match access {
        Access::Public | Access::SignedIn | Access::Gateway | Access::Ticket => return Ok(()),
        Access::Project(role) => {
            let named = project.unwrap_or_default();
            let project = ProjectName::new(named).map_err(|error| {
                Problem::new(Code::InvalidField, error.to_string()).field("project")
            })?;
            // A project that somebody may not see does not exist for them.
            if !caller.sees(&project) {
                return Err(ApiError::new(
                    Code::NotFound,
                    format!("there is no project {project}"),
                ));
            }
            role
        }
        Access::Platform(role) => {
            if caller.scope() != coracle_model::user::ProjectScope::All {
                let detail =
                    "this concerns the whole platform, and your access is limited to some projects";
                return Err(ApiError::new(Code::Forbidden, detail));
            }
            role
        }
    };
    if caller.role >= needed {
        return Ok(());
    }
    let name = |role: Role| match role {
        Role::Viewer => "viewer",
        Role::Developer => "developer",
        Role::Admin => "admin",
    };
    let detail = format!(
        "this needs the role {}, and yours is {}",
        name(needed),
        name(caller.role)
    );
    Err(Problem::new(Code::Forbidden, detail)
        .hint("ask an administrator for the role")
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_of_the_document_is_classified_and_the_other_way_round() {
        let document = serde_json::to_value(crate::openapi::document()).unwrap();
        let mut documented = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                if let Ok(method) = method.to_uppercase().parse::<Method>() {
                    let path = path.replace("{repository}", "{*repository}");
                    assert!(
                        classify(&method, &path).is_some(),
                        "{method} {path} is not classified in access::TABLE"
                    );
                    documented.insert((method.to_string(), path));
                }
            }
        }
        for (method, path, _) in TABLE {
            assert!(
                documented.contains(&(method.to_string(), (*path).to_owned())),
                "{method} {path} is not documented"
            );
        }
    }

    #[test]
    fn everything_that_changes_something_needs_more_than_a_look() {
        for (method, path, access) in TABLE {
            if !method.is_safe() {
                assert_ne!(*access, Project(Viewer), "{method} {path}");
                assert_ne!(*access, Platform(Viewer), "{method} {path}");
            }
            assert_eq!(
                matches!(access, Project(_)),
                path.contains("{project}") && *access != Platform(Admin),
                "{method} {path}: a route that names a project is checked against it"
            );
        }
    }
}
