//! What happened to a release: written down and told.

use coracle_model::object::Kind;
use coracle_model::plan::rollout::ReleaseChange;
use coracle_model::release::{Release, ReleaseNumber, ReleaseSpec};

use crate::controllers::key::AppKey;
use crate::controllers::scene::Scene;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;

/// Who did it, in the journal.
pub(super) const ACTOR: Actor = Actor::Platform("release controller");

/// Writes a change of a release's status, if it is still possible, and tells of it.
pub(super) async fn set_release(
    scene: &Scene,
    key: &AppKey,
    number: ReleaseNumber,
    change: &ReleaseChange,
    log: Vec<String>,
) -> Result<(), OperationError> {
    let now = scene.now();
    let mut changed = false;
    let at = keys::release(&key.project, &key.app, number);
    let apply = |release: &mut Release| {
        changed = change.is_possible(release.status.phase);
        change.apply(&mut release.status, log.clone(), now);
        Ok(())
    };
    scene
        .control
        .objects
        .modify::<ReleaseSpec>(&at, number, apply)
        .await?;
    let (action, message) = match change {
        _ if !changed => return Ok(()),
        ReleaseChange::Begin => ("release.deploying", format!("{number} is being deployed")),
        ReleaseChange::Prepared | ReleaseChange::Superseded { reason: None } => return Ok(()),
        ReleaseChange::Live => ("release.live", format!("{number} is live")),
        ReleaseChange::Superseded {
            reason: Some(reason),
        } => ("release.superseded", format!("{number}: {reason}")),
        ReleaseChange::Failed { reason, .. } => {
            ("release.failed", format!("{number} failed: {reason}"))
        }
    };
    journal(scene, key, number, action, message).await;
    Ok(())
}

/// Tells of a release in the journal.
pub(super) async fn journal(
    scene: &Scene,
    key: &AppKey,
    number: ReleaseNumber,
    action: &str,
    message: String,
) {
    let object = format!("{}/{number}", key.app);
    let journal = &scene.control.journal;
    journal
        .record(
            &ACTOR,
            action,
            Some(&key.project),
            (Kind::Release, &object),
            message,
        )
        .await;
}
