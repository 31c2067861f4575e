//! To whom the lines of a build's log are told.

use coracle_engine::build::{BuildEvent, BuildProgress};

use super::progress::Progress;
use crate::logs::{Line, Sink};

/// What is made of a stage's lines, and who follows the build.
pub(super) struct Telling<'a> {
    pub(super) progress: &'a mut Progress,
    pub(super) events: &'a BuildProgress,
}

impl Sink for Telling<'_> {
    async fn take(&mut self, line: Line) {
        for event in self.progress.line(line.at, &line.text()) {
            tell(self.events, event).await;
        }
    }
}

/// Nobody who reads is no reason not to build.
pub(super) async fn tell(events: &BuildProgress, event: BuildEvent) {
    if events.send(event).await.is_err() {
        tracing::trace!("nobody reads the build's progress");
    }
}
