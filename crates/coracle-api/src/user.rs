//! Users.

use std::io::ErrorKind;

use axum::extract::State;
use axum::http::StatusCode;
use coracle_control::journal::Actor;
use coracle_control::objects::new_uid;
use coracle_control::user::Credential;
use coracle_control::vault::write_private;
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

/// What [`ensure_admin`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstAdmin {
    /// There were users.
    AlreadyThere,
    /// It made the administrator, with the password that was given.
    Made,
    /// It made the administrator, with a password that is in the file.
    MadeUp,
}

/// Makes the first administrator, `admin`, unless there is a user already, with the password that is `given` or with one that is
/// made up. That is in `file` before the user is there: what was cut off in between is done anew, and there is never a user
/// whose password nobody knows. What is in the file and is not the password goes.
///
/// # Errors
/// [`OperationError::Invalid`] for a given password that is too short, [`OperationError::Io`] when the file cannot be written.
pub async fn ensure_admin(
    control: &Control,
    given: Option<Secret>,
    file: &std::path::Path,
) -> Result<FirstAdmin, OperationError> {
    let name = UserName::new("admin")?;
    if !control.users().await?.is_empty() {
        remove_outdated(control, &name, file).await?;
        return Ok(FirstAdmin::AlreadyThere);
    }
    let (password, made) = match given {
        Some(given) => (given, FirstAdmin::Made),
        // 80 bits, easy to type.
        None => (Secret::new(readable(&new_uid())), FirstAdmin::MadeUp),
    };
    let hash = hash_password(password.clone())
        .await
        .map_err(|error| OperationError::invalid("CORACLE_ADMIN_PASSWORD", error.to_string()))?;
    if made == FirstAdmin::MadeUp {
        write_private(file, password.expose().as_bytes()).map_err(|source| OperationError::Io {
            what: "the file for the administrator's first password cannot be written",
            source,
        })?;
    }
    let spec = UserSpec {
        role: Role::Admin,
        projects: ProjectScope::All,
    };
    let actor = Actor::Platform("first start");
    let credential = Credential { hash };
    let made = match control.create_user(&name, spec, &credential, &actor).await {
        Ok(_) => made,
        // Another control plane made it, with another password.
        Err(OperationError::AlreadyExists { .. }) => FirstAdmin::AlreadyThere,
        Err(error) => return Err(error),
    };
    if made != FirstAdmin::MadeUp {
        remove_outdated(control, &name, file).await?;
    }
    Ok(made)
}

/// Removes the file when what is in it is not the administrator's password (any more).
async fn remove_outdated(
    control: &Control,
    admin: &UserName,
    file: &std::path::Path,
) -> Result<(), OperationError> {
    let failed = |source| OperationError::Io {
        what: "the file with the administrator's first password cannot be read or removed",
        source,
    };
    let kept = match std::fs::read_to_string(file) {
        Ok(kept) => Secret::new(kept),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let hash = control.credential(admin).await?.map(|known| known.hash);
    if verify_password(kept, hash).await {
        return Ok(());
    }
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

fn readable(hex: &str) -> String {
    [&hex[..5], &hex[5..10], &hex[10..15], &hex[15..20]].join("-")
}
