//! One of several control planes leads.
//!
//! Theory of operation: every control plane is a candidate for as long as it lives. Who is elected runs the
//! controllers, each write under the election's fence. When the lease is lost, for whatever reason, nothing of this
//! process may go on: its engine knows what it wished. So the process is replaced by a new one of itself, which
//! begins as a follower. That is done within the part of the lease in which no other can lead yet.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coracle_control::controllers::runner::ControllerStatus;
use coracle_control::controllers::{Controllers, Options};
use coracle_control::leading::LeaderRecord;
use coracle_control::{Control, keys, served};
use coracle_store::{Candidate, Leadership};
use coracle_task::{Backoff, Supervisor};
use tokio::sync::Notify;

use crate::error::{CliError, Result};

/// How often the history of the store is cut: what is older than one to two of these periods,
const COMPACT: Duration = Duration::from_secs(600);
/// but never the newest changes.
const KEEP_CHANGES: u64 = 10_000;

/// Where this process stands in the election.
#[derive(Clone, Default)]
pub(crate) struct Office {
    controllers: Arc<Mutex<Option<Controllers>>>,
    leadership: Arc<Mutex<Option<Leadership>>>,
    lost: Arc<Notify>,
}

impl Office {
    /// Runs the controllers of a control plane that is alone.
    pub(crate) fn alone(&self, control: Control, supervisor: &Supervisor) {
        self.set(Controllers::start(control, Options::default(), supervisor));
    }

    fn set(&self, controllers: Controllers) {
        *self
            .controllers
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(controllers);
    }

    /// Stands for election, and runs the controllers once elected.
    pub(crate) fn stand(
        &self,
        control: &Control,
        ttl: Duration,
        supervisor: &Supervisor,
    ) -> Result {
        let record = LeaderRecord { name: name() };
        let value = serde_json::to_vec(&record).map_err(|error| {
            CliError::caused("the candidate's record cannot be written", &error)
        })?;
        let store = Arc::clone(control.objects.store());
        let candidate = Candidate::new(store, keys::LEADER, value, ttl);
        let (office, own, group) = (self.clone(), control.clone(), supervisor.clone());
        supervisor.spawn("election", async move {
            match office.serve(&candidate, &own, &group).await {
                Ok(()) => tracing::error!("this control plane does not lead any more"),
                Err(error) => tracing::error!(%error, "the election ended"),
            }
            own.leading.end();
            office.lost.notify_one();
        });
        let own = control.clone();
        supervisor.service("served routes", Backoff::default(), move || {
            let control = own.clone();
            async move { served::follow(&control).await }
        });
        Ok(())
    }

    async fn serve(&self, candidate: &Candidate, control: &Control, group: &Supervisor) -> Result {
        let leadership = candidate
            .campaign()
            .await
            .map_err(|error| CliError::caused("the election cannot go on", &error))?;
        *self
            .leadership
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(leadership.clone());
        tracing::info!(
            revision = leadership.fence().revision(),
            "this control plane leads"
        );
        let begin = async {
            let under = control.under(leadership.fence()).await?;
            control.leading.begin(leadership.clone());
            self.set(Controllers::start(under.clone(), Options::default(), group));
            let telling = under.clone();
            group.service("tell served routes", Backoff::default(), move || {
                let control = telling.clone();
                async move { served::tell(&control).await }
            });
            group.spawn("compaction", async move { compact(&under).await });
            // Until the lease is lost.
            std::future::pending().await
        };
        let begun: Result<(), coracle_control::OperationError> = tokio::select! {
            begun = begin => begun,
            () = leadership.keep() => Ok(()),
        };
        begun.map_err(|error| CliError::caused("the controllers cannot be started", &error))
    }

    /// Waits until this process led and does not any more.
    pub(crate) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Lets another lead at once. When nothing acts any more.
    pub(crate) async fn resign(&self) {
        let leadership = self
            .leadership
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(leadership) = leadership
            && let Err(error) = leadership.resign().await
        {
            tracing::warn!(%error, "the leader's lease is left to end by itself");
        }
    }
}

/// Cuts the history of the store, which does not do so by itself.
async fn compact(control: &Control) {
    let store = control.objects.store();
    let mut before = None;
    loop {
        match store.revision().await {
            Ok(now) => {
                if let Some(before) = before {
                    let keep_from = now.saturating_sub(KEEP_CHANGES).min(before);
                    if let Err(error) = store.compact(keep_from).await {
                        tracing::warn!(%error, "the store's history could not be cut");
                    }
                }
                before = Some(now);
            }
            Err(error) => tracing::warn!(%error, "the store's history could not be cut"),
        }
        tokio::time::sleep(COMPACT).await;
    }
}

fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}", host.trim(), std::process::id())
}

/// How the controllers are, for the API; nothing where another leads.
impl coracle_api::StatusSource for Office {
    fn controllers(&self) -> serde_json::Value {
        let by_name = |status: ControllerStatus| {
            let told = serde_json::to_value(&status).unwrap_or_default();
            (status.name.to_owned(), told)
        };
        let controllers = self
            .controllers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let statuses = controllers.as_ref().map(Controllers::statuses);
        statuses
            .unwrap_or_default()
            .into_iter()
            .map(by_name)
            .collect()
    }
}
