//! Projects: their networks, and their end.
//!
//! Theory of operation: a project's network is made once it is known, so that its first app need not wait for
//! it; before that the engine is told with what it pulls the project's images. A project that is being deleted goes when
//! nothing is left in it: its network first, its record last, and with that what opened its part of the registry.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use coracle_model::app::AppSpec;
use coracle_model::name::ProjectName;
use coracle_model::object::Kind;
use coracle_model::plan::Knowledge;
use coracle_model::pod::PodSpec;
use coracle_model::project::ProjectSpec;
use coracle_store::Expected;

use crate::controllers::change::Change;
use crate::controllers::runner::{Next, Reconciler};
use crate::controllers::scene::Scene;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::Batch;

const ACTOR: Actor = Actor::Platform("project controller");

/// Makes and removes networks of projects.
pub struct ProjectController {
    scene: Arc<Scene>,
    /// Projects whose network was made sure of in this process's life.
    ensured: Mutex<BTreeSet<ProjectName>>,
}

impl ProjectController {
    pub(super) fn new(scene: &Arc<Scene>) -> Self {
        Self {
            scene: Arc::clone(scene),
            ensured: Mutex::default(),
        }
    }

    fn ensured(&self) -> std::sync::MutexGuard<'_, BTreeSet<ProjectName>> {
        self.ensured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Reconciler for ProjectController {
    type Key = ProjectName;
    const NAME: &'static str = "project";
    const AT_ONCE: usize = 2;

    async fn keys(&self) -> Result<Vec<ProjectName>, OperationError> {
        let projects = self
            .scene
            .control
            .objects
            .list::<ProjectSpec>(keys::PROJECTS)
            .await?;
        let name =
            |project: coracle_model::project::Project| ProjectName::new(project.metadata.name).ok();
        Ok(projects.into_iter().filter_map(name).collect())
    }

    fn concerns(&self, change: &Change<'_>) -> Option<ProjectName> {
        match change {
            Change::Stored(key) => {
                let mut parts = [keys::PROJECTS, keys::APPS, keys::PODS].iter();
                let rest = parts.find_map(|prefix| key.strip_prefix(prefix))?;
                ProjectName::new(rest.split('/').next()?).ok()
            }
            Change::Pod(id, _) => {
                // Only a project that is on its way out cares, and such a one is not ensured.
                (!self.ensured().contains(&id.project)).then(|| id.project.clone())
            }
            Change::Node | Change::Gateways => None,
        }
    }

    async fn reconcile(&self, name: &ProjectName) -> Result<Next, OperationError> {
        let control = &self.scene.control;
        let at = keys::project(name);
        let Some(project) = control.objects.get::<ProjectSpec>(&at).await? else {
            return Ok(Next::Rest);
        };
        if project.metadata.deleting.is_none() {
            if !self.ensured().contains(name) {
                let pull = control.pull_credentials(name).await?;
                control.engine.set_pull_credentials(name, &pull).await?;
                control.engine.ensure_project(name).await?;
                self.ensured().insert(name.clone());
            }
            return Ok(Next::Rest);
        }
        self.ensured().remove(name);
        let (pods, knowledge) = self.scene.look(|observed| observed.pods_of_project(name));
        if knowledge == Knowledge::Partial || !pods.is_empty() {
            return Ok(self
                .scene
                .look_again(knowledge)
                .map_or(Next::Rest, Next::After));
        }
        let apps = control.objects.list::<AppSpec>(&keys::apps(name)).await?;
        let pods = control.objects.list::<PodSpec>(&keys::pods(name)).await?;
        if !apps.is_empty() || !pods.is_empty() {
            return Ok(Next::Rest);
        }
        if let Some(tags) = &control.image_tags
            && let Err(error) = tags.remove_project(name).await
        {
            tracing::warn!(project = %name, %error, "images of a deleted project stay in the registry");
        }
        control.remove_sources(name).await?;
        control.engine.remove_project(name).await?;
        let expected = Expected::Revision(project.metadata.revision);
        control
            .objects
            .write(
                Batch::new()
                    .delete(at, expected)
                    .delete(keys::registry_access(name), Expected::Any),
            )
            .await?;
        let what = (Kind::Project, name.as_str());
        let message = format!("project {name} is gone");
        control
            .journal
            .record(&ACTOR, "project.gone", Some(name), what, message)
            .await;
        Ok(Next::Rest)
    }
}
