//! API tokens of the caller.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use chrono::{DateTime, Datelike as _, Utc};
use coracle_model::name::TokenName;
use coracle_model::object::{List, Object as Resource};
use coracle_model::problem::{Code, Problem};
use coracle_model::quantity::Span;
use coracle_model::token::{Token, TokenPurpose, TokenSpec, TokenStatus};
use coracle_model::user::{ProjectScope, Role};
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Json, Path, Query};
use crate::page::Page;
use crate::state::ApiState;

/// A token to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// Its name.
    name: TokenName,
    /// The most that it allows; the caller's own role when absent.
    #[serde(default)]
    role: Option<Role>,
    /// Where it holds; everywhere where the caller may be when absent.
    #[serde(default)]
    projects: ProjectScope,
    /// How long it lasts, such as `30d`; for ever when absent.
    #[serde(default)]
    expires_in: Option<Span>,
}

/// A new token with its secret, which is shown this once.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct MadeToken {
    #[serde(flatten)]
    token: Resource<TokenSpec, TokenStatus>,
    /// Present it as `Authorization: Bearer`.
    secret: String,
}

/// The caller's tokens.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "access", params(Page), responses(
    (status = 200, body = List<Resource<TokenSpec, TokenStatus>>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<Token>>> {
    Ok(Json(
        page.cut(state.control.tokens(&caller.user).await?, |token| {
            token.metadata.name.clone()
        }),
    ))
}

/// Make a token. It never opens more than the credentials that it is made with.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "access", request_body = NewToken, responses(
    (status = 201, body = MadeToken), (status = "default", body = Problem)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Json(new): Json<NewToken>,
) -> ApiResult<impl IntoResponse> {
    may_manage(&caller)?;
    let role = new.role.unwrap_or(caller.role);
    if role > caller.role {
        return Err(Problem::new(
            Code::Forbidden,
            "a token cannot have a higher role than yours",
        )
        .field("role")
        .into());
    }
    let projects = match (new.projects, caller.scope()) {
        (ProjectScope::All, scope) => scope,
        (ProjectScope::Only(asked), ProjectScope::All) => ProjectScope::Only(asked),
        (ProjectScope::Only(asked), ProjectScope::Only(own)) => {
            if let Some(foreign) = asked.difference(&own).next() {
                let problem =
                    Problem::new(Code::NotFound, format!("there is no project {foreign}"));
                return Err(problem.field("projects").into());
            }
            ProjectScope::Only(asked)
        }
    };
    let expires = expiry(new.expires_in, &caller)?;
    let spec = TokenSpec {
        user: caller.user.clone(),
        role,
        projects,
        expires,
        purpose: TokenPurpose::Api,
    };
    let (token, secret) = state
        .control
        .create_token(&new.name, spec, &caller.actor())
        .await?;
    let made = MadeToken {
        token,
        secret: secret.expose().to_owned(),
    };
    Ok((
        StatusCode::CREATED,
        [(header::CACHE_CONTROL, "no-store")],
        Json(made),
    ))
}

/// A token never does more than it was made for, and that is not to make and delete its owner's other tokens.
fn may_manage(caller: &Caller) -> ApiResult<()> {
    if caller.manages_tokens() {
        return Ok(());
    }
    let detail =
        "this token opens less than its owner may, so it does not manage the owner's tokens";
    Err(ApiError::new(Code::Forbidden, detail)
        .hint("log in with `coracle login`, or use a token of your full role and projects"))
}

/// When a new token ends. One that is made with a token ends with it at the latest; a session is a person, who may
/// make tokens that outlive it.
fn expiry(asked: Option<Span>, caller: &Caller) -> ApiResult<Option<DateTime<Utc>>> {
    let own = caller
        .token
        .spec
        .expires
        .filter(|_| caller.token.spec.purpose == TokenPurpose::Api);
    let Some(span) = asked else {
        return Ok(own);
    };
    let at = chrono::Duration::from_std(span.0)
        .ok()
        .and_then(|span| Utc::now().checked_add_signed(span))
        // What RFC 3339 can write: a later one could not be read again.
        .filter(|at| at.year() <= 9999)
        .ok_or_else(|| Problem::new(Code::InvalidField, "that is too long").field("expires_in"))?;
    if own.is_some_and(|own| at > own) {
        let detail = "a token that is made with a token cannot outlive it";
        return Err(Problem::new(Code::Forbidden, detail)
            .field("expires_in")
            .into());
    }
    Ok(Some(at))
}

/// Delete a token.
#[utoipa::path(delete, path = "/api/v1/tokens/{token}", tag = "access", params(("token" = TokenName, Path)), responses(
    (status = 204), (status = "default", body = Problem)))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Path(token): Path<TokenName>,
) -> ApiResult<StatusCode> {
    // Every token may end itself, as a session does.
    if token.as_str() != caller.token.metadata.name {
        may_manage(&caller)?;
    }
    state
        .control
        .delete_token(&caller.user, &token, &caller.actor())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
