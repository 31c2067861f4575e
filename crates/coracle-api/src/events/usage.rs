//! What everything uses, as it is sampled: only for those who ask for it by its name.

use std::sync::Arc;

use axum::response::sse::Event;
use coracle_control::usage::LatestSample;
use coracle_model::name::ProjectName;
use coracle_model::usage::UsageSample;
use coracle_model::user::Role;
use tokio::sync::watch;

use super::filter::{Audience, Filter};
use super::follower::{Follower, Gone};
use crate::usage::{Nodes, seen};

/// The word for it among the kinds. It is no kind of object.
pub(super) const WORD: &str = "Usage";

/// The next sample; never one, where none are to be told. A follower that is slow misses some and gets the newest.
pub(super) async fn next(samples: &mut Option<watch::Receiver<LatestSample>>) -> Arc<UsageSample> {
    if let Some(samples) = samples {
        // The sender lives as long as the control plane.
        while samples.changed().await.is_ok() {
            if let Some(sample) = samples.borrow_and_update().clone() {
                return sample;
            }
        }
    }
    std::future::pending().await
}

/// As much of a sample as a follower may see.
fn part(filter: &Filter, sample: &UsageSample) -> UsageSample {
    let sees = |project: &ProjectName| filter.reaches(&Audience::Project(project.clone()));
    let nodes = if filter.reaches(&Audience::Platform(Role::Viewer)) {
        Nodes::Shown
    } else {
        Nodes::Hidden
    };
    seen(sample, sees, nodes)
}

impl Follower {
    /// Tells of a sample. Like pods and nodes it has no revision.
    pub(super) async fn sample(&self, sample: &UsageSample) -> Result<(), Gone> {
        let event = Event::default().event("usage");
        match event.json_data(part(&self.filter, sample)) {
            Ok(event) => self.send(event).await,
            Err(error) => {
                tracing::error!(%error, "a sample could not be written");
                Ok(())
            }
        }
    }
}
