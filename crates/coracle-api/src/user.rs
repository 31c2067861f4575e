//! Users.

use axum::extract::State;
use axum::http::StatusCode;
use coracle_control::journal::Actor;
use coracle_control::objects::new_uid;
use coracle_control::user::Credential;
use coracle_control::{Control, OperationError};
use coracle_model::env::Secret;
use coracle_model::name::UserName;
use coracle_model::object::{Kind, List, Object as Resource};
use coracle_model::problem::{Code, Problem};
use coracle_model::user::{ProjectScope, Role, User, UserSpec, UserStatus};
use serde::Deserialize;

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::extract::{IfMatch, Input, Json, Path, Query, Tagged};
use crate::page::Page;
use crate::password::{PasswordError, hash_password, verify_password};
use crate::state::ApiState;

/// A user to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    /// What they may do.
    role: Role,
    /// Where.
    #[serde(default)]
    projects: ProjectScope,
    /// The first password.
    password: Secret,
}

/// A new password.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    /// The new password.
    password: Secret,
    /// The present one: needed by whoever changes their own.
    #[serde(default)]
    current: Option<Secret>,
}

async fn hashed(password: Secret, field: &str) -> ApiResult<Credential> {
    match hash_password(password).await {
        Ok(hash) => Ok(Credential { hash }),
        Err(error @ PasswordError::Length) => {
            Err(Problem::new(Code::InvalidField, error.to_string())
                .field(field)
                .into())
        }
        Err(error @ PasswordError::Hash) => Err(ApiError::internal(error)),
    }
}

/// Every user.
#[utoipa::path(get, path = "/api/v1/users", tag = "access", params(Page), responses(
    (status = 200, body = List<Resource<UserSpec, UserStatus>>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<User>>> {
    Ok(Json(page.cut(state.control.users().await?, |user| {
        user.metadata.name.clone()
    })))
}

/// Make a user.
#[utoipa::path(post, path = "/api/v1/users", tag = "access", request_body = Input<NewUser>, responses(
    (status = 201, body = Resource<UserSpec, UserStatus>), (status = "default", body = Problem)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Json(input): Json<Input<NewUser>>,
) -> ApiResult<Tagged<UserSpec, coracle_model::user::UserStatus>> {
    let (name, new) = input.into_new::<UserName>(Kind::User)?;
    let credential = hashed(new.password, "spec.password").await?;
    let spec = UserSpec {
        role: new.role,
        projects: new.projects,
    };
    let user = state
        .control
        .create_user(&name, spec, &credential, &caller.actor())
        .await?;
    Ok(Tagged(StatusCode::CREATED, user))
}

/// A user.
#[utoipa::path(get, path = "/api/v1/users/{user}", tag = "access", params(("user" = UserName, Path)), responses(
    (status = 200, body = Resource<UserSpec, UserStatus>), (status = "default", body = Problem)))]
pub(crate) async fn read(
    State(state): State<ApiState>,
    Path(user): Path<UserName>,
) -> ApiResult<Tagged<UserSpec, coracle_model::user::UserStatus>> {
    Ok(Tagged(StatusCode::OK, state.control.user(&user).await?))
}

/// Change what a user may do.
#[utoipa::path(put, path = "/api/v1/users/{user}", tag = "access", params(("user" = UserName, Path)),
    request_body = Input<UserSpec>, responses((status = 200, body = Resource<UserSpec, UserStatus>), (status = "default", body = Problem)))]
pub(crate) async fn update(
    State(state): State<ApiState>,
    caller: Caller,
    Path(user): Path<UserName>,
    header: IfMatch,
    Json(input): Json<Input<UserSpec>>,
) -> ApiResult<Tagged<UserSpec, coracle_model::user::UserStatus>> {
    let (spec, revision) = input.into_change(Kind::User, user.as_str(), &header)?;
    Ok(Tagged(
        StatusCode::OK,
        state
            .control
            .update_user(&user, spec, revision, &caller.actor())
            .await?,
    ))
}

/// Delete a user with all tokens and sessions.
#[utoipa::path(delete, path = "/api/v1/users/{user}", tag = "access", params(("user" = UserName, Path)), responses(
    (status = 204), (status = "default", body = Problem)))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Path(user): Path<UserName>,
    header: IfMatch,
) -> ApiResult<StatusCode> {
    state
        .control
        .delete_user(&user, header.0, &caller.actor())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Set a user's password; all sessions of the user end. Everybody may change their own, administrators any.
#[utoipa::path(put, path = "/api/v1/users/{user}/password", tag = "access", params(("user" = UserName, Path)),
    request_body = NewPassword, responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn set_password(
    State(state): State<ApiState>,
    caller: Caller,
    Path(user): Path<UserName>,
    Json(new): Json<NewPassword>,
) -> ApiResult<StatusCode> {
    if user == caller.user {
        let keys = [format!("user {user}")];
        state.throttle.take(&keys).map_err(|wait| {
            ApiError::new(Code::RateLimited, "too many wrong passwords")
                .retry_after(wait.as_secs() + 1)
        })?;
        let hash = state
            .control
            .credential(&user)
            .await?
            .map(|credential| credential.hash);
        let current = new.current.unwrap_or_default();
        if !verify_password(current, hash).await {
            return Err(
                Problem::new(Code::Forbidden, "the present password is wrong")
                    .field("current")
                    .into(),
            );
        }
        state.throttle.good(&keys[0], &[]);
    } else if caller.role != Role::Admin || caller.scope() != ProjectScope::All {
        return Err(ApiError::new(
            Code::Forbidden,
            "only an administrator sets the password of somebody else",
        ));
    }
    let credential = hashed(new.password, "password").await?;
    state
        .control
        .set_credential(&user, &credential, &caller.actor())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes the first administrator, `admin`, unless there is a user already. Returns the password when it was
/// made up here, so that it can be shown once.
///
/// # Errors
/// [`OperationError::Invalid`] for a given password that is too short.
pub async fn ensure_admin(
    control: &Control,
    given: Option<Secret>,
) -> Result<Option<Secret>, OperationError> {
    if !control.users().await?.is_empty() {
        return Ok(None);
    }
    let made_up = given.is_none();
    // 80 bits, easy to type.
    let password = given.unwrap_or_else(|| Secret::new(readable(&new_uid())));
    let hash = hash_password(password.clone())
        .await
        .map_err(|error| OperationError::invalid("CORACLE_ADMIN_PASSWORD", error.to_string()))?;
    let name = UserName::new("admin")?;
    let spec = UserSpec {
        role: Role::Admin,
        projects: ProjectScope::All,
    };
    match control
        .create_user(
            &name,
            spec,
            &Credential { hash },
            &Actor::Platform("first start"),
        )
        .await
    {
        Ok(_) => Ok(made_up.then_some(password)),
        Err(OperationError::AlreadyExists { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn readable(hex: &str) -> String {
    [&hex[..5], &hex[5..10], &hex[10..15], &hex[15..20]].join("-")
}
