//! Logging in and out.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse};
use chrono::{DateTime, Duration, Utc};
use coracle_control::journal::Actor;
use coracle_control::objects::new_uid;
use coracle_model::env::Secret;
use coracle_model::name::{TokenName, UserName};
use coracle_model::object::Kind;
use coracle_model::problem::{Code, Problem};
use coracle_model::token::{TokenPurpose, TokenSpec};
use coracle_model::user::{ProjectScope, Role};
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::credentials::{Transport, session_cookie};
use crate::error::{ApiError, ApiResult};
use crate::extract::{Json, Peer};
use crate::password::verify_password;
use crate::state::ApiState;

/// Who wants to log in.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// The user's name.
    user: UserName,
    /// The password.
    password: Secret,
}

/// A new session.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Session {
    /// Presented as `Authorization: Bearer`. Browsers use the cookie instead.
    token: String,
    /// When it ends.
    expires: DateTime<Utc>,
    /// The user's name.
    user: UserName,
    /// What they may do.
    role: Role,
}

/// Who is logged in.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct WhoAmI {
    /// The user's name.
    user: UserName,
    /// What they may do here.
    role: Role,
    /// Where.
    projects: ProjectScope,
    /// When the session or token ends.
    expires: Option<DateTime<Utc>>,
    /// The platform's version.
    version: &'static str,
    /// Apps are served under this domain.
    domain: String,
}

/// Log in with a user's name and password.
#[utoipa::path(post, path = "/api/v1/session", tag = "access", request_body = Login, responses(
    (status = 201, body = Session), (status = "default", body = Problem)))]
pub(crate) async fn log_in(
    State(state): State<ApiState>,
    peer: Peer,
    headers: HeaderMap,
    Json(login): Json<Login>,
) -> ApiResult<impl IntoResponse> {
    let mut keys = vec![format!("user {}", login.user)];
    keys.extend(peer.0.map(|address| format!("address {}", address.ip())));
    state.throttle.take(&keys).map_err(|wait| {
        let seconds = wait.as_secs() + 1;
        ApiError::new(
            Code::RateLimited,
            format!("too many failed logins: try again in {seconds} s"),
        )
        .retry_after(seconds)
    })?;
    let credential = state.control.credential(&login.user).await?;
    if !verify_password(login.password, credential.map(|credential| credential.hash)).await {
        let actor = Actor::Platform("login");
        let user = (Kind::User, login.user.as_str());
        state
            .control
            .journal
            .record(
                &actor,
                "session.refused",
                None,
                user,
                "wrong user name or password",
            )
            .await;
        return Err(Problem::new(
            Code::Unauthenticated,
            "the user name or the password is wrong",
        )
        .into());
    }
    state.throttle.good(&keys[0], &keys[1..]);
    let user = state.control.user(&login.user).await?;
    let settings = state.control.platform_settings().await?;
    let days = i64::from(settings.spec.days_of_session());
    let expires = Utc::now() + Duration::days(days);
    let spec = TokenSpec {
        user: login.user.clone(),
        role: user.spec.role,
        projects: ProjectScope::All,
        expires: Some(expires),
        purpose: TokenPurpose::Session,
    };
    let name = TokenName::new(format!("session-{}", &new_uid()[..16]))?;
    let actor = Actor::User(login.user.to_string());
    let (_, secret) = state.control.create_token(&name, spec, &actor).await?;
    let age = days * 24 * 3600;
    let cookie = session_cookie(Transport::of(&headers), secret.expose(), age);
    let session = Session {
        token: secret.expose().to_owned(),
        expires,
        user: login.user,
        role: user.spec.role,
    };
    let no_store = [
        (header::SET_COOKIE, cookie),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((StatusCode::CREATED, AppendHeaders(no_store), Json(session)))
}

/// Who is logged in.
#[utoipa::path(get, path = "/api/v1/session", tag = "access", responses(
    (status = 200, body = WhoAmI), (status = "default", body = Problem)))]
pub(crate) async fn who_am_i(State(state): State<ApiState>, caller: Caller) -> Json<WhoAmI> {
    Json(WhoAmI {
        projects: caller.scope(),
        expires: caller.token.spec.expires,
        user: caller.user,
        role: caller.role,
        version: env!("CARGO_PKG_VERSION"),
        domain: state.control.domain().to_string(),
    })
}

/// End the session, or the token, that the request carries.
#[utoipa::path(delete, path = "/api/v1/session", tag = "access", responses(
    (status = 204), (status = "default", body = Problem)))]
pub(crate) async fn log_out(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
) -> ApiResult<impl IntoResponse> {
    let name = TokenName::new(caller.token.metadata.name.clone())?;
    state
        .control
        .delete_token(&caller.user, &name, &caller.actor())
        .await?;
    let cookie = session_cookie(Transport::of(&headers), "", 0);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]))
}
