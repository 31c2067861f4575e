//! Users.

use coracle_model::env::Secret;
use coracle_model::name::UserName;
use coracle_model::user::{ProjectScope, Role, User, UserSpec};
use http::Method;
use serde::Serialize;

use crate::Result;
use crate::client::{Client, Input};

#[derive(Serialize)]
struct NewUser<'a> {
    role: Role,
    projects: &'a ProjectScope,
    password: &'a str,
}

#[derive(Serialize)]
struct NewPassword<'a> {
    password: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<&'a str>,
}

impl Client {
    /// Every user.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn users(&self) -> Result<Vec<User>> {
        self.all("/users").await
    }

    /// A user.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn user(&self, user: &UserName) -> Result<User> {
        self.get(&format!("/users/{user}")).await
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn create_user(
        &self,
        user: &UserName,
        spec: &UserSpec,
        password: &Secret,
    ) -> Result<User> {
        let new = NewUser {
            role: spec.role,
            projects: &spec.projects,
            password: password.expose(),
        };
        self.post("/users", &Input::new(user.as_str(), &new)).await
    }

    /// Changes what a user may do.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn update_user(
        &self,
        user: &UserName,
        spec: &UserSpec,
        expected: Option<u64>,
    ) -> Result<User> {
        let input = Input::new(user.as_str(), spec);
        self.write(Method::PUT, &format!("/users/{user}"), &input, expected)
            .await
    }

    /// Deletes a user with all tokens and sessions.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn delete_user(&self, user: &UserName) -> Result<()> {
        self.delete(&format!("/users/{user}"), None).await
    }

    /// Sets a password. `current` is needed by whoever changes their own.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn set_password(
        &self,
        user: &UserName,
        password: &Secret,
        current: Option<&Secret>,
    ) -> Result<()> {
        let new = NewPassword {
            password: password.expose(),
            current: current.map(Secret::expose),
        };
        let request = self.request(Method::PUT, &format!("/users/{user}/password"));
        self.send(request.json(&new)).await.map(drop)
    }
}
