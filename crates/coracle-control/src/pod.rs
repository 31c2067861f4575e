//! What can be done with pods: bare ones, one-off commands of apps, and those that are observed.

use std::sync::Arc;

use chrono::Utc;
use coracle_model::name::{AppName, ImageRef, PodName, ProjectName};
use coracle_model::object::{Kind, Metadata, Object};
use coracle_model::plan::naming::is_reserved;
use coracle_model::pod::{Pod, PodSpec, PodStart, Restart};
use coracle_model::release::CommandLine;
use coracle_model::workload::{ObservedPod, PodId};
use coracle_store::{Expected, Revision};

use crate::control::Control;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::{Batch, check_not_deleting, check_revision, new_object, new_uid};
use crate::release::pinned;

/// The most words of a command, and the most bytes of each.
const COMMAND_WORDS: usize = 1000;
const WORD_BYTES: usize = 64 * 1024;

impl Control {
    /// A pod: as somebody asked for it, as the engine reports it, or both.
    ///
    /// # Errors
    /// [`OperationError::NotFound`].
    pub async fn pod(&self, project: &ProjectName, name: &PodName) -> Result<Pod, OperationError> {
        let id = PodId {
            project: project.clone(),
            name: name.clone(),
        };
        let seen = self.observed.pod(&id);
        match self
            .objects
            .get::<PodSpec>(&keys::pod(project, name))
            .await?
        {
            Some(asked) => Ok(merge(asked, seen.as_deref())),
            None => seen
                .map(|pod| as_object(&pod))
                .ok_or_else(|| OperationError::not_found(Kind::Pod, name)),
        }
    }

    /// Every pod of a project, by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn pods(&self, project: &ProjectName) -> Result<Vec<Pod>, OperationError> {
        let asked = self.objects.list::<PodSpec>(&keys::pods(project)).await?;
        Ok(self.merge_all(asked, self.observed.pods_of_project(project)))
    }

    /// Every pod of every project, by project and name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn all_pods(&self) -> Result<Vec<Pod>, OperationError> {
        let asked = self.objects.list::<PodSpec>(keys::PODS).await?;
        Ok(self.merge_all(asked, self.observed.pods()))
    }

    #[expect(
        clippy::unused_self,
        reason = "reads as a step of the two listings above"
    )]
    fn merge_all(&self, asked: Vec<Pod>, mut seen: Vec<Arc<ObservedPod>>) -> Vec<Pod> {
        let mut pods = Vec::with_capacity(asked.len() + seen.len());
        for pod in asked {
            let at = seen.iter().position(|s| {
                Some(&s.id.project) == pod.metadata.project.as_ref()
                    && s.id.name.as_str() == pod.metadata.name
            });
            let observed = at.map(|at| seen.swap_remove(at));
            pods.push(merge(pod, observed.as_deref()));
        }
        pods.extend(seen.iter().map(|pod| as_object(pod)));
        pods.sort_by(|a, b| {
            (&a.metadata.project, &a.metadata.name).cmp(&(&b.metadata.project, &b.metadata.name))
        });
        pods
    }

    /// Makes a bare pod.
    ///
    /// # Errors
    /// [`OperationError::AlreadyExists`], [`OperationError::Invalid`], [`OperationError::NotFound`] for its project.
    pub async fn create_pod(
        &self,
        project: &ProjectName,
        name: &PodName,
        spec: PodSpec,
        actor: &Actor,
    ) -> Result<Pod, OperationError> {
        check_bare(&spec)?;
        if is_reserved(name) {
            return Err(OperationError::invalid(
                "metadata.name",
                format!("pods of apps are called so, as in hello-web-v3: {name} must not be"),
            ));
        }
        let id = PodId {
            project: project.clone(),
            name: name.clone(),
        };
        if self.observed.pod(&id).is_some() {
            return Err(OperationError::AlreadyExists {
                kind: Kind::Pod,
                name: name.to_string(),
            });
        }
        let pod = self.store_pod(project, name, spec).await?;
        self.journal
            .record(
                actor,
                "pod.created",
                Some(project),
                (Kind::Pod, name.as_str()),
                format!("pod {name} created"),
            )
            .await;
        Ok(pod)
    }

    async fn store_pod(
        &self,
        project: &ProjectName,
        name: &PodName,
        spec: PodSpec,
    ) -> Result<Pod, OperationError> {
        let home = self.live_project(project).await?;
        let mut pod: Pod = new_object(name.as_str(), Some(project.clone()), spec);
        let batch = Batch::new()
            .check(
                keys::project(project),
                Expected::Revision(home.metadata.revision),
            )
            .create(keys::pod(project, name), &pod)?;
        match self.objects.write(batch).await {
            Ok(revision) => {
                pod.metadata.revision = revision;
                Ok(pod)
            }
            Err(error)
                if error.is_race()
                    && self
                        .objects
                        .get::<PodSpec>(&keys::pod(project, name))
                        .await?
                        .is_some() =>
            {
                Err(OperationError::AlreadyExists {
                    kind: Kind::Pod,
                    name: name.to_string(),
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Changes a bare pod: it is replaced by one of the new specification.
    ///
    /// # Errors
    /// [`OperationError::Conflict`] for the pod of an app, [`OperationError::Stale`], [`OperationError::Invalid`].
    pub async fn update_pod(
        &self,
        project: &ProjectName,
        name: &PodName,
        spec: PodSpec,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<Pod, OperationError> {
        check_bare(&spec)?;
        self.refuse_app_pod(project, name).await?;
        let pod = self
            .objects
            .modify::<PodSpec>(&keys::pod(project, name), name, |pod| {
                check_revision(pod, revision)?;
                check_not_deleting(pod)?;
                pod.spec = spec.clone();
                Ok(())
            })
            .await?;
        self.journal
            .record(
                actor,
                "pod.changed",
                Some(project),
                (Kind::Pod, name.as_str()),
                format!("pod {name} changed"),
            )
            .await;
        self.pod(project, name).await.or(Ok(pod))
    }

    async fn refuse_app_pod(
        &self,
        project: &ProjectName,
        name: &PodName,
    ) -> Result<(), OperationError> {
        let id = PodId {
            project: project.clone(),
            name: name.clone(),
        };
        let stored = self
            .objects
            .get::<PodSpec>(&keys::pod(project, name))
            .await?;
        match (
            stored,
            self.observed.pod(&id).and_then(|pod| pod.owner.app.clone()),
        ) {
            (None, Some(app)) => Err(OperationError::Conflict {
                reason: format!("pod {name} belongs to app {app}"),
                hint: Some("change the app: its pods follow".to_owned()),
            }),
            _ => Ok(()),
        }
    }

    /// Asks for the end of a pod. A bare pod goes for good; an app's gets a new one in its place.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], [`OperationError::Stale`].
    pub async fn delete_pod(
        &self,
        project: &ProjectName,
        name: &PodName,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<Pod, OperationError> {
        let key = keys::pod(project, name);
        let pod = match self.objects.get::<PodSpec>(&key).await? {
            Some(_) => {
                self.objects
                    .modify::<PodSpec>(&key, name, |pod| {
                        check_revision(pod, revision)?;
                        pod.metadata.deleting.get_or_insert_with(Utc::now);
                        Ok(())
                    })
                    .await?
            }
            None => {
                let pod = self.pod(project, name).await?;
                self.end_pod(&PodId {
                    project: project.clone(),
                    name: name.clone(),
                })
                .await?;
                pod
            }
        };
        self.journal
            .record(
                actor,
                "pod.deleted",
                Some(project),
                (Kind::Pod, name.as_str()),
                format!("pod {name} deleted"),
            )
            .await;
        Ok(pod)
    }

    /// Prepares a one-off command with the image and the environment of an app's live release. It starts
    /// when somebody attaches.
    ///
    /// # Errors
    /// [`OperationError::Conflict`] when the app has no release that ran.
    pub async fn run_once(
        &self,
        project: &ProjectName,
        app: &AppName,
        command: Vec<String>,
        start: PodStart,
        actor: &Actor,
    ) -> Result<Pod, OperationError> {
        let object = self.app(project, app).await?;
        check_not_deleting(&object)?;
        let base = self
            .base_release(&object)
            .await?
            .filter(|release| release.status.image.is_some());
        let Some(release) = base else {
            return Err(OperationError::Conflict {
                reason: format!("app {app} has no release to run a command with"),
                hint: Some("deploy it first".to_owned()),
            });
        };
        let spec = PodSpec {
            image: pinned(&release),
            command: Some(CommandLine::Exec(command)),
            env: std::collections::BTreeMap::new(),
            port: None,
            cpu: None,
            memory: None,
            health: None,
            restart: Restart::Never,
            start,
            app: Some(app.clone()),
            process: None,
            release: Some(release.spec.number),
        };
        check_command("command", &spec)?;
        let name = PodName::new(format!("{app}-run-{}", &new_uid()[..6]))?;
        let pod = self.store_pod(project, &name, spec).await?;
        self.journal
            .record(
                actor,
                "app.command_run",
                Some(project),
                (Kind::App, app.as_str()),
                format!("one-off command in pod {name}"),
            )
            .await;
        Ok(pod)
    }

    /// The image as a reference that is known to be one.
    #[must_use]
    pub fn observed_image(pod: &ObservedPod) -> Option<ImageRef> {
        ImageRef::new(pod.image.clone()).ok()
    }
}

fn check_command(field: &str, spec: &PodSpec) -> Result<(), OperationError> {
    let words: &[String] = match &spec.command {
        None => return Ok(()),
        Some(CommandLine::Shell(line)) => std::slice::from_ref(line),
        Some(CommandLine::Exec(words)) => words,
    };
    let bad = words.is_empty()
        || words.len() > COMMAND_WORDS
        || words[0].is_empty()
        || words
            .iter()
            .any(|word| word.len() > WORD_BYTES || word.contains('\0'));
    if bad {
        return Err(OperationError::invalid(
            field,
            "a command is 1 to 1000 words without zero bytes, the first not empty",
        ));
    }
    Ok(())
}

fn check_bare(spec: &PodSpec) -> Result<(), OperationError> {
    for (field, set) in [
        ("spec.app", spec.app.is_some()),
        ("spec.process", spec.process.is_some()),
        ("spec.release", spec.release.is_some()),
    ] {
        if set {
            return Err(OperationError::invalid(
                field,
                "it is set by the platform, for the pods of apps",
            ));
        }
    }
    if spec.port == Some(0) {
        return Err(OperationError::invalid("spec.port", "a port is 1 to 65535"));
    }
    if !spec.start.is_at_once() && spec.restart != Restart::Never {
        return Err(OperationError::invalid(
            "spec.restart",
            "a pod that starts on attach has restart: never",
        ));
    }
    for (name, value) in &spec.env {
        if value.contains('\0') {
            return Err(OperationError::invalid(
                format!("spec.env.{name}"),
                "a value cannot hold a zero byte",
            ));
        }
    }
    check_command("spec.command", spec)
}

/// A pod that somebody asked for, with what the engine reports of it.
#[must_use]
pub fn merge(mut asked: Pod, seen: Option<&ObservedPod>) -> Pod {
    if let Some(seen) = seen {
        asked.status = seen.status.clone();
    }
    asked
}

/// A pod that only the engine knows, as an object.
#[must_use]
pub fn as_object(pod: &ObservedPod) -> Pod {
    Object {
        kind: Kind::Pod,
        metadata: Metadata {
            name: pod.id.name.to_string(),
            project: Some(pod.id.project.clone()),
            uid: String::new(),
            revision: 0,
            created: pod.created,
            deleting: None,
        },
        spec: PodSpec {
            image: Control::observed_image(pod).unwrap_or_else(unknown_image),
            command: None,
            env: std::collections::BTreeMap::new(),
            port: pod.port,
            cpu: None,
            memory: None,
            health: None,
            restart: Restart::Always,
            start: PodStart::AtOnce,
            app: pod.owner.app.clone(),
            process: pod.owner.process.clone(),
            release: pod.owner.release,
        },
        status: pod.status.clone(),
    }
}

#[expect(clippy::expect_used, reason = "a constant that a test parses")]
fn unknown_image() -> ImageRef {
    ImageRef::new("unknown").expect("a valid reference")
}
