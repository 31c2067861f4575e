//! What an import writes. Each step is one write, or says that it was done before.

use coracle_model::app::AppSpec;
use coracle_model::env::EnvVars;
use coracle_model::object::Kind;
use coracle_model::release::Origin;
use coracle_store::{Expected, StoreError};

use crate::archive::{AppRecord, Archive, ProjectRecord, UserRecord};
use crate::control::Control;
use crate::domain::taken_domain;
use crate::error::OperationError;
use crate::import::arrival::Arrival;
use crate::journal::Actor;
use crate::keys;
use crate::user::Credential;

impl Control {
    /// Creates a project that is not there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn import_project(
        &self,
        record: &ProjectRecord,
        actor: &Actor,
    ) -> Result<(), OperationError> {
        let created = self
            .create_project(&record.name, record.spec(), actor)
            .await;
        unless_there(created)
    }

    /// Creates a user who is not there, without a password: nothing opens until an administrator sets one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn import_user(
        &self,
        record: &UserRecord,
        actor: &Actor,
    ) -> Result<(), OperationError> {
        let none = Credential {
            // No password has this hash.
            hash: "none".to_owned(),
        };
        let spec = record.spec.clone();
        unless_there(self.create_user(&record.name, spec, &none, actor).await)
    }

    /// Creates an app that is not there, whole.
    ///
    /// # Errors
    /// [`OperationError::AlreadyExists`], [`OperationError::DomainTaken`] when somebody was faster.
    pub async fn import_app(
        &self,
        archive: &Archive,
        record: &AppRecord,
        actor: &Actor,
    ) -> Result<(), OperationError> {
        let arrival = Arrival {
            control: self,
            archive,
            app: record,
        };
        let home = self.live_project(&record.project).await?;
        let home = Expected::Revision(home.metadata.revision);
        let now = self.objects.store().revision().await?;
        let batch = arrival.creation(home, now, actor)?;
        let key = keys::app(&record.project, &record.name);
        match self.objects.write(batch).await {
            Ok(_) => {}
            Err(OperationError::Store(StoreError::Conflict { key: taken, .. })) if taken == key => {
                return Err(OperationError::AlreadyExists {
                    kind: Kind::App,
                    name: record.name.to_string(),
                });
            }
            Err(error) => return Err(taken_domain(error)),
        }
        self.record_import(actor, record, "imported").await;
        Ok(())
    }

    /// Makes of the app here what the archive has, by a new release.
    ///
    /// # Errors
    /// As the operations that it is made of.
    pub async fn replace_app(
        &self,
        archive: &Archive,
        record: &AppRecord,
        actor: &Actor,
    ) -> Result<(), OperationError> {
        let (project, name) = (&record.project, &record.name);
        let arrival = Arrival {
            control: self,
            archive,
            app: record,
        };
        let spec = arrival.spec()?;
        let env = spec.env.clone();
        let shape = AppSpec {
            env: EnvVars::new(),
            ..spec
        };
        self.update_app(project, name, shape, None, actor).await?;
        let draft = match record.live() {
            Some(live) => Some(arrival.redeployed(live, Origin::Image, actor)?),
            None => None,
        };
        self.write_release(project, name, None, |app, _| {
            app.spec.env = env.clone();
            Ok(draft.clone())
        })
        .await?;
        self.record_import(actor, record, "replaced by an import")
            .await;
        Ok(())
    }

    async fn record_import(&self, actor: &Actor, record: &AppRecord, how: &str) {
        let app = (Kind::App, record.name.as_str());
        let message = format!("app {} {how}", record.name);
        self.journal
            .record(actor, "app.imported", Some(&record.project), app, message)
            .await;
    }
}

/// What is there already stays as it is.
fn unless_there<T>(created: Result<T, OperationError>) -> Result<(), OperationError> {
    match created {
        Ok(_) | Err(OperationError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
