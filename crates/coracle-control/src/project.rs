//! What can be done with projects.

use std::collections::BTreeMap;

use chrono::Utc;
use coracle_model::app::AppSpec;
use coracle_model::name::ProjectName;
use coracle_model::object::Kind;
use coracle_model::project::{Project, ProjectSpec};
use coracle_store::Revision;

use crate::control::Control;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::{check_not_deleting, check_revision, new_object};

/// The longest description, in bytes.
const DESCRIPTION_BYTES: usize = 1000;

pub(crate) fn check(spec: &ProjectSpec) -> Result<(), OperationError> {
    if spec.description.len() > DESCRIPTION_BYTES {
        let reason = format!("a description has at most {DESCRIPTION_BYTES} bytes");
        return Err(OperationError::invalid("spec.description", reason));
    }
    Ok(())
}

impl Control {
    pub(crate) async fn ensure_default_project(&self) -> Result<(), OperationError> {
        let name = ProjectName::default_project();
        let key = keys::project(&name);
        // Read first: a store that takes no writes must not keep a control plane from starting.
        if self.objects.get::<ProjectSpec>(&key).await?.is_some() {
            return Ok(());
        }
        let project = new_object(name.as_str(), None, ProjectSpec::default());
        match self.objects.create(key, project).await {
            Ok(_) | Err(OperationError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A project, with how many apps it has.
    ///
    /// # Errors
    /// [`OperationError::NotFound`].
    pub async fn project(&self, name: &ProjectName) -> Result<Project, OperationError> {
        let project = self
            .objects
            .need::<ProjectSpec>(&keys::project(name), name)
            .await?;
        self.with_counts(project).await
    }

    /// Every project, with how many apps each has.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn projects(&self) -> Result<Vec<Project>, OperationError> {
        let mut projects = self.objects.list::<ProjectSpec>(keys::PROJECTS).await?;
        let mut apps = BTreeMap::<ProjectName, u32>::new();
        for app in self.objects.list::<AppSpec>(keys::APPS).await? {
            if let Some(project) = app.metadata.project {
                *apps.entry(project).or_default() += 1;
            }
        }
        for project in &mut projects {
            let name = ProjectName::new(project.metadata.name.clone())?;
            project.status.apps = apps.get(&name).copied().unwrap_or_default();
        }
        Ok(projects)
    }

    async fn with_counts(&self, mut project: Project) -> Result<Project, OperationError> {
        let prefix = format!("{}{}/", keys::APPS, project.metadata.name);
        let apps = self.objects.list::<AppSpec>(&prefix).await?.len();
        project.status.apps = u32::try_from(apps).unwrap_or(u32::MAX);
        Ok(project)
    }

    /// A project that exists and is not being deleted.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], [`OperationError::Conflict`].
    pub async fn live_project(&self, name: &ProjectName) -> Result<Project, OperationError> {
        let project = self
            .objects
            .need::<ProjectSpec>(&keys::project(name), name)
            .await?;
        check_not_deleting(&project)?;
        Ok(project)
    }

    /// Makes a project.
    ///
    /// # Errors
    /// [`OperationError::AlreadyExists`], [`OperationError::Invalid`].
    pub async fn create_project(
        &self,
        name: &ProjectName,
        spec: ProjectSpec,
        actor: &Actor,
    ) -> Result<Project, OperationError> {
        check(&spec)?;
        let project = self
            .objects
            .create(keys::project(name), new_object(name.as_str(), None, spec))
            .await?;
        self.journal
            .record(
                actor,
                "project.created",
                Some(name),
                (Kind::Project, name.as_str()),
                "project created",
            )
            .await;
        Ok(project)
    }

    /// Changes a project.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], [`OperationError::Stale`], [`OperationError::Invalid`].
    pub async fn update_project(
        &self,
        name: &ProjectName,
        spec: ProjectSpec,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<Project, OperationError> {
        check(&spec)?;
        let project = self
            .objects
            .modify::<ProjectSpec>(&keys::project(name), name, |project| {
                check_revision(project, revision)?;
                check_not_deleting(project)?;
                project.spec = spec.clone();
                Ok(())
            })
            .await?;
        self.journal
            .record(
                actor,
                "project.changed",
                Some(name),
                (Kind::Project, name.as_str()),
                "project changed",
            )
            .await;
        self.with_counts(project).await
    }

    /// Asks for the end of a project, which must have no apps and no pods any more.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], [`OperationError::Stale`], [`OperationError::Conflict`].
    pub async fn delete_project(
        &self,
        name: &ProjectName,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<Project, OperationError> {
        if name.is_default() {
            return Err(OperationError::conflict(
                "the project default cannot be deleted",
            ));
        }
        let apps = self.objects.list::<AppSpec>(&keys::apps(name)).await?;
        let pods = self
            .objects
            .list::<coracle_model::pod::PodSpec>(&keys::pods(name))
            .await?;
        if !apps.is_empty() || !pods.is_empty() {
            return Err(OperationError::Conflict {
                reason: format!(
                    "project {name} has {} apps and {} pods",
                    apps.len(),
                    pods.len()
                ),
                hint: Some("delete them first".to_owned()),
            });
        }
        let project = self
            .objects
            .modify::<ProjectSpec>(&keys::project(name), name, |project| {
                check_revision(project, revision)?;
                project.metadata.deleting.get_or_insert_with(Utc::now);
                Ok(())
            })
            .await?;
        self.journal
            .record(
                actor,
                "project.deleted",
                Some(name),
                (Kind::Project, name.as_str()),
                "deletion asked for",
            )
            .await;
        Ok(project)
    }
}
