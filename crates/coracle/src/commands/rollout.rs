//! Until a release is live, with progress: what `deploy`, `rollback` and `env` have in common.

use coracle_client::Client;
use coracle_client::wait::Rollout;
use coracle_model::name::AppName;
use coracle_model::release::{Release, ReleaseNumber, ReleasePhase};
use futures::StreamExt as _;

use crate::context::Context;
use crate::error::{CliError, Result};
use crate::output::Progress;

/// The exit status of a command that was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

/// Waits until the release is live.
pub(crate) async fn wait(
    context: &Context,
    client: &Client,
    app: &AppName,
    number: ReleaseNumber,
    progress: &mut Progress,
) -> Result<Release> {
    let mut stages = client.wait_release(&context.project, app, number);
    let mut last = None;
    loop {
        let stage = tokio::select! {
            stage = stages.next() => stage,
            _ = tokio::signal::ctrl_c() => return Err(goes_on(app, &format!("release {number}"), "coracle releases")),
        };
        match stage {
            Some(Ok(rollout)) => {
                progress.say(&told(number, &rollout));
                last = Some(rollout.release);
            }
            Some(Err(error)) => return Err(error.into()),
            None => break,
        }
    }
    let Some(release) = last else {
        return Err(CliError::new(format!(
            "nothing was told of release {number}"
        )));
    };
    match release.status.phase {
        // Who is told a URL finds this release behind it, and not for a moment the one before.
        ReleasePhase::Live => Ok(client.release_served(&context.project, app, number).await?),
        ReleasePhase::Superseded => Err(CliError::new(format!(
            "release {number} of {app}: a newer release took its place"
        ))
        .hint(format!("`coracle releases {app}` lists them"))),
        ReleasePhase::Pending | ReleasePhase::Deploying | ReleasePhase::Failed => {
            Err(failed(app, &release))
        }
    }
}

fn failed(app: &AppName, release: &Release) -> CliError {
    let number = release.spec.number;
    let reason = release
        .status
        .reason
        .as_deref()
        .unwrap_or("no reason is known");
    let mut message = format!("release {number} of {app} failed: {reason}");
    for line in &release.status.log {
        message.push_str("\n  | ");
        message.push_str(line);
    }
    CliError::new(message).hint(if number.0 > 1 {
        format!("what served before goes on serving; `coracle releases {app}` lists the releases")
    } else {
        format!("mend it and deploy again; `coracle logs {app}` has what its pods wrote")
    })
}

/// Somebody does not want to wait any more.
pub(crate) fn goes_on(app: &AppName, what: &str, follow: &str) -> CliError {
    CliError {
        status: INTERRUPTED,
        ..CliError::new(format!("not waited for: {what} of {app} goes on"))
    }
    .hint(format!("follow it with `{follow} {app}`"))
}

fn told(number: ReleaseNumber, rollout: &Rollout) -> String {
    let status = &rollout.release.status;
    let stage = match status.phase {
        ReleasePhase::Pending => "waits for its turn",
        ReleasePhase::Deploying => "is being deployed",
        ReleasePhase::Live => "is live",
        ReleasePhase::Superseded => "was superseded",
        ReleasePhase::Failed => "failed",
    };
    let mut text = format!("release {number} {stage}");
    if status.phase == ReleasePhase::Deploying {
        if !rollout.pods.is_empty() {
            let ready = rollout
                .pods
                .iter()
                .filter(|pod| pod.status.phase.can_serve())
                .count();
            text.push_str(&format!(", {ready} of {} pods ready", rollout.pods.len()));
        }
        if let Some(reason) = &status.reason {
            text.push_str(&format!(": {reason}"));
        }
    }
    text
}
