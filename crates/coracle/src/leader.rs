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
use coracle_store::{Candidate, Etcd, Fence, Leadership, Store as _, StoreError};
use coracle_task::{Backoff, Supervisor};
use tokio::sync::Notify;

use crate::compaction;
use crate::data_dir::DataDir;
use crate::error::{CliError, Result, chain};
use crate::settings::PlatformSettings;
use crate::store::PlatformStore;

/// Between two looks of who leads whether the store refuses.
const LOOK: Duration = Duration::from_secs(10);
/// Between two looks whether a store that refused does so no more.
const REFUSED: Duration = Duration::from_secs(3);

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
        electorate: Electorate,
        supervisor: &Supervisor,
    ) -> Result {
        let record = LeaderRecord { name: name() };
        let value = serde_json::to_vec(&record).map_err(|error| {
            CliError::caused("the candidate's record cannot be written", &error)
        })?;
        let store = Arc::clone(control.objects.store());
        let ttl = electorate.settings.etcd.lease();
        let candidate = Candidate::new(store, keys::LEADER, value, ttl);
        let (office, own, group) = (self.clone(), control.clone(), supervisor.clone());
        supervisor.spawn("election", async move {
            match office.serve(&candidate, &own, &electorate, &group).await {
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

    async fn serve(
        &self,
        candidate: &Candidate,
        control: &Control,
        electorate: &Electorate,
        group: &Supervisor,
    ) -> Result {
        let leadership = loop {
            match candidate.campaign().await {
                Ok(leadership) => break leadership,
                Err(error @ StoreError::Refused { .. }) => {
                    tracing::error!(error = chain(&error), "this control plane cannot lead");
                    electorate.mended().await?;
                }
                Err(error) => {
                    return Err(CliError::caused("the election cannot go on", &error));
                }
            }
        };
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
            group.service("tell served routes", Backoff::default(), move || {
                let control = under.clone();
                async move { served::tell(&control).await }
            });
            let (store, wish) = (
                electorate.store.clone(),
                electorate.settings.etcd.compaction,
            );
            group.spawn("compaction", async move {
                compaction::keep(&store, wish).await;
            });
            // Until the lease is lost.
            std::future::pending().await
        };
        let begun: Result<(), coracle_control::OperationError> = tokio::select! {
            begun = begin => begun,
            () = leadership.keep() => Ok(()),
            changed = electorate.changed(leadership.fence()) => return Err(changed),
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

/// Where the election is.
pub(crate) struct Electorate {
    pub(crate) store: Etcd,
    pub(crate) data: DataDir,
    pub(crate) settings: PlatformSettings,
}

impl Electorate {
    /// Waits until the store refuses who leads, and takes other credentials.
    async fn changed(&self, fence: &Fence) -> CliError {
        loop {
            // A leader that has nothing to do would not learn of it for long.
            tokio::select! {
                () = fence.refused() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            let refused = matches!(self.store.writable().await, Err(StoreError::Refused { .. }));
            if refused && let Err(changed) = self.mended().await {
                return changed;
            }
        }
    }

    /// Waits until etcd, which refused, takes writes again.
    ///
    /// # Errors
    /// When it does from a new connection only, such as with the password that stands in its file by now: then this
    /// process is to begin anew.
    async fn mended(&self) -> Result {
        loop {
            tokio::time::sleep(REFUSED).await;
            if self.store.writable().await.is_ok() {
                return Ok(());
            }
            if let Ok(other) = PlatformStore::open(&self.data, &self.settings).await {
                other.close().await;
                return Err(CliError::new(
                    "etcd takes other credentials by now: beginning anew with them",
                ));
            }
        }
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
