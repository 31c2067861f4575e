//! What can be done with users. Passwords are hashed by whoever calls: a hash is all that comes here.

use coracle_model::name::UserName;
use coracle_model::object::Kind;
use coracle_model::user::{Role, User, UserSpec};
use coracle_store::{Expected, Revision};
use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::{Batch, check_revision, new_object};

/// A password's hash in PHC form (`$argon2id$…`).
#[derive(Clone, Serialize, Deserialize)]
pub struct Credential {
    /// The hash.
    pub hash: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(…)")
    }
}

impl Control {
    /// A user.
    ///
    /// # Errors
    /// [`OperationError::NotFound`].
    pub async fn user(&self, name: &UserName) -> Result<User, OperationError> {
        self.objects.need::<UserSpec>(&keys::user(name), name).await
    }

    /// Every user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn users(&self) -> Result<Vec<User>, OperationError> {
        self.objects.list::<UserSpec>(keys::USERS).await
    }

    /// Makes a user with the hash of a password.
    ///
    /// # Errors
    /// [`OperationError::AlreadyExists`].
    pub async fn create_user(
        &self,
        name: &UserName,
        spec: UserSpec,
        credential: &Credential,
        actor: &Actor,
    ) -> Result<User, OperationError> {
        if self
            .objects
            .get::<UserSpec>(&keys::user(name))
            .await?
            .is_none()
        {
            // Left by a deletion that was cut off: they must not open anything for the new user's namesake.
            self.drop_tokens(name).await?;
        }
        let mut user: User = new_object(name.as_str(), None, spec);
        let batch = Batch::new()
            .create(keys::user(name), &user)?
            .set(keys::credential(name), credential)?;
        match self.objects.write(batch).await {
            Ok(revision) => user.metadata.revision = revision,
            Err(error) if error.is_race() => {
                return Err(OperationError::AlreadyExists {
                    kind: Kind::User,
                    name: name.to_string(),
                });
            }
            Err(error) => return Err(error),
        }
        self.journal
            .record(
                actor,
                "user.created",
                None,
                (Kind::User, name.as_str()),
                format!("user {name} created"),
            )
            .await;
        Ok(user)
    }

    /// The hash of a user's password.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn credential(&self, name: &UserName) -> Result<Option<Credential>, OperationError> {
        self.objects.get_record(&keys::credential(name)).await
    }

    /// Sets the hash of a user's password and ends all of the user's sessions.
    ///
    /// # Errors
    /// [`OperationError::NotFound`].
    pub async fn set_credential(
        &self,
        name: &UserName,
        credential: &Credential,
        actor: &Actor,
    ) -> Result<(), OperationError> {
        let user = self.user(name).await?;
        let batch = Batch::new()
            .check(keys::user(name), Expected::Revision(user.metadata.revision))
            .set(keys::credential(name), credential)?;
        self.objects.write(batch).await?;
        self.end_sessions(name).await?;
        self.journal
            .record(
                actor,
                "user.password_changed",
                None,
                (Kind::User, name.as_str()),
                "password changed",
            )
            .await;
        Ok(())
    }

    /// Changes what a user may do.
    ///
    /// # Errors
    /// [`OperationError::Conflict`] when no administrator would be left.
    pub async fn update_user(
        &self,
        name: &UserName,
        spec: UserSpec,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<User, OperationError> {
        let user = loop {
            let before = self.user(name).await?;
            check_revision(&before, revision)?;
            let mut after = before.clone();
            after.spec = spec.clone();
            let key = keys::user(name);
            let mut batch = Batch::new().update(key, before.metadata.revision, &after)?;
            if spec.role != Role::Admin {
                batch = self.keep_an_admin(&before, batch).await?;
            }
            match self.objects.write(batch).await {
                Ok(revision) => {
                    after.metadata.revision = revision;
                    break after;
                }
                Err(error) if error.is_race() => {}
                Err(error) => return Err(error),
            }
        };
        self.journal
            .record(
                actor,
                "user.changed",
                None,
                (Kind::User, name.as_str()),
                format!("user {name} changed"),
            )
            .await;
        Ok(user)
    }

    /// Deletes a user with all tokens and sessions.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], [`OperationError::Stale`], [`OperationError::Conflict`] when no administrator
    /// would be left.
    pub async fn delete_user(
        &self,
        name: &UserName,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<(), OperationError> {
        loop {
            let user = self.user(name).await?;
            check_revision(&user, revision)?;
            // The user goes first: tokens of a user who is not there open nothing.
            let batch = Batch::new()
                .delete(keys::user(name), Expected::Revision(user.metadata.revision))
                .delete(keys::credential(name), Expected::Any);
            let batch = self.keep_an_admin(&user, batch).await?;
            match self.objects.write(batch).await {
                Ok(_) => break,
                Err(error) if error.is_race() => {}
                Err(error) => return Err(error),
            }
        }
        self.drop_tokens(name).await?;
        self.journal
            .record(
                actor,
                "user.deleted",
                None,
                (Kind::User, name.as_str()),
                format!("user {name} deleted"),
            )
            .await;
        Ok(())
    }

    /// Makes `batch` depend on another administrator than `leaving`, who is one no more after it. In the batch
    /// and not before it: two who take each other's role away at the same moment must not both succeed.
    async fn keep_an_admin(&self, leaving: &User, batch: Batch) -> Result<Batch, OperationError> {
        if leaving.spec.role != Role::Admin {
            return Ok(batch);
        }
        let name = &leaving.metadata.name;
        let others = self.users().await?;
        let other = others
            .iter()
            .find(|user| user.spec.role == Role::Admin && user.metadata.name != *name);
        let Some(other) = other else {
            return Err(OperationError::Conflict {
                reason: format!("{name} is the only administrator"),
                hint: Some("make somebody else an administrator first".to_owned()),
            });
        };
        let key = keys::user(&UserName::new(other.metadata.name.clone())?);
        Ok(batch.check(key, Expected::Revision(other.metadata.revision)))
    }
}
