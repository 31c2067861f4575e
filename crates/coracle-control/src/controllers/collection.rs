//! Collects what nothing in the registry needs: once a day, and when somebody asks.
//!
//! Theory of operation: the registry's record says when the last collection began, and whether one was asked for since. `running` is written
//! before a collection begins and another phase when it has ended, so that a process that was killed in between finds that
//! it has to begin again; a collection may be begun again at any time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use coracle_model::object::Kind;
use coracle_model::quantity::ByteSize;
use coracle_model::registry::{CollectionPhase, Registry, RegistrySpec};

use crate::controllers::change::Change;
use crate::controllers::key::Everything;
use crate::controllers::runner::{Next, Reconciler};
use crate::controllers::scene::Scene;
use crate::error::OperationError;
use crate::image::Collected;
use crate::journal::Actor;
use crate::keys;
use crate::registry::NAME;

/// Who does it.
const ACTOR: Actor = Actor::Platform("collection controller");

/// A collection that failed is tried again after this time.
const RETRY: Duration = Duration::from_secs(3600);

/// Collects.
pub struct CollectionController {
    scene: Arc<Scene>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Now,
    At(DateTime<Utc>),
}

/// When the next collection is to begin.
fn due(registry: &Registry, every: Duration) -> Due {
    let status = &registry.status;
    if status.phase == CollectionPhase::Running {
        return Due::Now;
    }
    let last = status.finished.unwrap_or(registry.metadata.created);
    let pause = match status.phase {
        CollectionPhase::Failed => RETRY.min(every),
        CollectionPhase::Idle | CollectionPhase::Running => every,
    };
    Due::At(last + pause)
}

impl CollectionController {
    pub(super) fn new(scene: &Arc<Scene>) -> Self {
        Self {
            scene: Arc::clone(scene),
        }
    }

    async fn change(
        &self,
        change: impl Fn(&mut Registry) + Send + Sync,
    ) -> Result<Registry, OperationError> {
        let objects = &self.scene.control.objects;
        let changed = objects.modify::<RegistrySpec>(keys::REGISTRY, NAME, |registry| {
            change(registry);
            Ok(())
        });
        changed.await
    }

    async fn collect(&self) -> Result<(), OperationError> {
        let control = &self.scene.control;
        let Some(tags) = &control.image_tags else {
            return Ok(());
        };
        let started = self.scene.now();
        let begun = self
            .change(|registry| {
                registry.status.phase = CollectionPhase::Running;
                registry.status.started = Some(started);
            })
            .await?;
        let asked = begun.spec.requested;
        let min_age = begun.spec.min_age.map(|age| age.0);
        let outcome = tags
            .collect(control, min_age.unwrap_or(self.scene.options.collect_age))
            .await;
        let finished = self.scene.now();
        let (phase, collected, reason) = match outcome {
            Ok(collected) => {
                let reason = left_alone(&collected);
                (CollectionPhase::Idle, collected, reason)
            }
            Err(error) => {
                let cause = std::error::Error::source(&*error).map(|cause| format!(": {cause}"));
                let reason = format!("{error}{}", cause.unwrap_or_default());
                tracing::error!(reason, "the registry could not be collected");
                (CollectionPhase::Failed, Collected::default(), Some(reason))
            }
        };
        self.change(|registry| {
            let again = registry.spec.requested != asked;
            let status = &mut registry.status;
            // Who asked in the meantime may have deleted something just before.
            status.phase = if again {
                CollectionPhase::Running
            } else {
                phase
            };
            status.finished = Some(finished);
            status.freed_bytes = collected.bytes;
            status.freed_images = collected.images;
            status.reason.clone_from(&reason);
            if !again {
                // The age was for that one only.
                registry.spec.min_age = None;
            }
        })
        .await?;
        if collected.bytes > 0 || collected.images > 0 {
            let message = format!(
                "the registry was collected: {} images and {} that nothing needed",
                collected.images,
                ByteSize(collected.bytes)
            );
            let what = (Kind::Registry, NAME);
            control
                .journal
                .record(&ACTOR, "registry.collected", None, what, message)
                .await;
        }
        Ok(())
    }
}

/// What a collection could not judge.
fn left_alone(collected: &Collected) -> Option<String> {
    let first = collected.damaged.first()?;
    let more = match collected.damaged.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "{first}{more} keeps all it has: something in it cannot be read"
    ))
}

#[async_trait]
impl Reconciler for CollectionController {
    type Key = Everything;
    const NAME: &'static str = "collection";
    const AT_ONCE: usize = 1;

    async fn keys(&self) -> Result<Vec<Everything>, OperationError> {
        Ok(vec![Everything])
    }

    fn concerns(&self, change: &Change<'_>) -> Option<Everything> {
        matches!(change, Change::Stored(key) if *key == keys::REGISTRY).then_some(Everything)
    }

    async fn reconcile(&self, _: &Everything) -> Result<Next, OperationError> {
        let registry = self.scene.control.registry().await?;
        match due(&registry, self.scene.options.collect) {
            Due::At(at) if at > self.scene.now() => Ok(Next::at(Some(at), self.scene.now())),
            Due::At(_) | Due::Now => {
                self.collect().await?;
                Ok(Next::Rest)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::new_object;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn a_collection_is_due_when_asked_for_or_a_day_after_the_last() {
        let mut registry = new_object::<RegistrySpec>(NAME, None, RegistrySpec::default());
        let created = registry.metadata.created;
        assert_eq!(due(&registry, DAY), Due::At(created + DAY));
        registry.status.phase = CollectionPhase::Running;
        assert_eq!(due(&registry, DAY), Due::Now);
        let finished = created + DAY * 3;
        registry.status.finished = Some(finished);
        registry.status.phase = CollectionPhase::Failed;
        assert_eq!(due(&registry, DAY), Due::At(finished + RETRY));
        registry.status.phase = CollectionPhase::Idle;
        assert_eq!(due(&registry, DAY), Due::At(finished + DAY));
    }
}
