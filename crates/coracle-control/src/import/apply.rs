//! What an import writes. Each step is one write, or says that it was done before.

use coracle_model::object::Kind;
use coracle_model::release::Origin;
use coracle_store::{Expected, StoreError};

use crate::app::{check_spec, with_claims};
use crate::archive::{AppRecord, Archive, ProjectRecord, UserRecord};
use crate::control::Control;
use crate::domain::taken_domain;
use crate::error::OperationError;
use crate::import::arrival::Arrival;
use crate::journal::Actor;
use crate::keys;
use crate::objects::check_not_deleting;
use crate::release::number;
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
            // No password has this hash; who tries one waits as long as for any other.
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
                let here = self.app(&record.project, &record.name).await?;
                if self.is_same(arrival, &here, &arrival.spec()?).await? {
                    // Another control plane imports the same.
                    return Ok(());
                }
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

    /// Makes of the app here what the archive has, by a new release: all of it in one write, unless it is that already.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], [`OperationError::Conflict`] while it is being deleted, [`OperationError::DomainTaken`],
    /// or when the store fails.
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
        check_spec(&spec, &self.default_host(project, name)?)?;
        let draft = match record.live() {
            Some(live) => Some(arrival.redeployed(live, Origin::Image, actor)?),
            None => None,
        };
        loop {
            let before = self.app(project, name).await?;
            check_not_deleting(&before)?;
            // Under the revision of `before`: whoever was faster may have imported the same.
            if self.is_same(arrival, &before, &spec).await? {
                return Ok(());
            }
            let mut after = before.clone();
            after.spec = spec.clone();
            let release = draft
                .clone()
                .map(|draft| number(project, name, &mut after, draft));
            if after == before {
                return Ok(());
            }
            self.note_change(&before, &mut after).await?;
            let mut batch = with_claims(project, name, &before, &after)?;
            if let Some(release) = &release {
                batch = batch.create(keys::release(project, name, release.spec.number), release)?;
            }
            match self.objects.write(batch).await {
                Ok(_) => break,
                Err(OperationError::Store(StoreError::Conflict { key, .. }))
                    if key == keys::app(project, name) => {}
                Err(error) => return Err(taken_domain(error)),
            }
        }
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
