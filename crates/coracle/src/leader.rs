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
use coracle_control::leading::{LeaderRecord, Leading};
use coracle_control::{Control, keys, served};
use coracle_store::{Candidate, Etcd, Fence, Leadership, Store as _, StoreError};
use coracle_task::{Backoff, CancellationToken, Supervisor};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::compaction;
use crate::data_dir::DataDir;
use crate::error::{CliError, Result, chain};
use crate::settings::PlatformSettings;
use crate::store::PlatformStore;

/// Between two looks of who leads whether the store still lets it in.
const LOOK: Duration = Duration::from_secs(10);
/// Between two tries of a store that refuses, at most.
const REFUSED: Duration = Duration::from_secs(3);

/// Between two tries of who leads to begin.
const AGAIN: Duration = Duration::from_secs(1);

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
            let _over = Over {
                leading: own.leading.clone(),
                lost: Arc::clone(&office.lost),
                stop: group.token(),
            };
            match office.serve(&candidate, &own, &electorate, &group).await {
                Ok(()) => tracing::error!("this control plane does not lead any more"),
                Err(error) => tracing::error!(%error, "the election ended"),
            }
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
                    electorate.mended(None).await?;
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
            let under = loop {
                match control.under(leadership.fence()).await {
                    Ok(under) => break under,
                    // Nobody else can lead as long as the lease is held: giving up would help nobody.
                    Err(error) => {
                        tracing::warn!(error = chain(&error), "the controllers wait for the store");
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            };
            control.leading.begin(leadership.clone());
            self.set(Controllers::start(under.clone(), Options::default(), group));
            group.service("tell served routes", Backoff::default(), move || {
                let control = under.clone();
                async move { served::tell(&control).await }
            });
            let wish = electorate.settings.etcd.compaction;
            let store = electorate.store.clone();
            group.service("compaction", Backoff::default(), move || {
                let store = store.clone();
                async move { compaction::keep(&store, wish).await }
            });
            // Until the lease is lost.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = begin => Ok(()),
            () = leadership.keep() => Ok(()),
            refused = electorate.refuses(leadership.fence()) => Err(refused),
        }
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

/// The end of the election's task, also by a panic: whoever led must not go on without keeping its lease.
struct Over {
    leading: Leading,
    lost: Arc<Notify>,
    stop: CancellationToken,
}

impl Drop for Over {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            self.leading.end();
            self.lost.notify_one();
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
    /// Waits until etcd takes other credentials than those of this process, which leads, or has taken nothing from it for
    /// as long as a lease lasts. The lease alone does not tell: etcd keeps it alive for whoever knows its number.
    async fn refuses(&self, fence: &Fence) -> CliError {
        loop {
            tokio::select! {
                () = fence.refused() => {}
                // A leader that has nothing to do would not learn of it for long. It reads: what asks for a write is
                // written into etcd's own log.
                () = tokio::time::sleep(LOOK) => {
                    if !is_refusal(&self.store.get(keys::LEADER).await) {
                        continue;
                    }
                }
            }
            // A refusal can also be that of one request, such as of a large one.
            if is_refusal(&self.store.writable().await)
                && let Err(over) = self.mended(Some(self.settings.etcd.lease())).await
            {
                return over;
            }
        }
    }

    /// Waits until etcd, which refused, does so no more.
    ///
    /// # Errors
    /// When it takes writes by a new connection only, such as with the password that stands in its file by now, and when
    /// it has refused for as long as `patience`: then this process is to begin anew.
    async fn mended(&self, patience: Option<Duration>) -> Result {
        let since = Instant::now();
        let pause = patience.map_or(REFUSED, |patience| REFUSED.min(patience / 3));
        loop {
            tokio::time::sleep(pause).await;
            match self.store.writable().await {
                Err(StoreError::Refused { .. }) => {}
                // No answer says nothing of what the next one will be.
                Err(StoreError::Unavailable { .. }) => continue,
                _ => return Ok(()),
            }
            if let Ok(other) = PlatformStore::open(&self.data, &self.settings).await {
                other.close().await;
                return Err(CliError::new(
                    "etcd takes other credentials by now: beginning anew with them",
                ));
            }
            if patience.is_some_and(|patience| since.elapsed() >= patience) {
                return Err(CliError::new(
                    "etcd takes no writes from this control plane: another is to lead, if it may write",
                ));
            }
        }
    }
}

fn is_refusal<T>(answer: &std::result::Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Refused { .. }))
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
