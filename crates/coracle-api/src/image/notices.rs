//! Tells what changes in the registry, so that whoever looks at images sees it, and the log of activity has it.
//!
//! Theory of operation: the registry tells its changes in this process; what is worth telling becomes an event, which reaches everybody
//! through the store. A process that ends in between loses a notice and nothing else.

use coracle_control::Control;
use coracle_control::image::is_pushed_tag;
use coracle_control::journal::Actor;
use coracle_model::object::Kind;
use coracle_registry::{Changed, Registry, What};
use coracle_task::Supervisor;
use tokio::sync::broadcast::error::RecvError;

use super::project_of;

const ACTOR: Actor = Actor::Platform("registry");

/// Follows the registry's changes until the supervisor ends.
pub(crate) fn follow(control: &Control, registry: &Registry, supervisor: &Supervisor) {
    let (control, mut changes) = (control.clone(), registry.changes());
    let end = supervisor.token();
    supervisor.spawn("image notices", async move {
        loop {
            let changed = tokio::select! {
                changed = changes.recv() => changed,
                () = end.cancelled() => return,
            };
            match changed {
                Ok(changed) => tell(&control, &changed).await,
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "changes of images were not told");
                }
                Err(RecvError::Closed) => return,
            }
        }
    });
}

async fn tell(control: &Control, changed: &Changed) {
    let name = &changed.repository;
    let (action, message) = match &changed.what {
        // Nobody may learn it: it is what keeps other projects from an image in an engine's store.
        What::Tagged(tag) if is_pushed_tag(tag.as_str()) => return,
        What::Tagged(tag) => ("image.pushed", format!("{name}:{tag} pushed")),
        What::Untagged(tag) => ("image.deleted", format!("tag {tag} of {name} deleted")),
        What::Deleted(digest) => {
            let message = format!("image {} of {name} deleted", digest.short());
            ("image.deleted", message)
        }
        What::Collected => (
            "image.collected",
            format!("images of {name} that nothing needed were removed"),
        ),
    };
    let project = project_of(name);
    let what = (Kind::Image, name.as_str());
    control
        .journal
        .record(&ACTOR, action, project.as_ref(), what, message)
        .await;
}
