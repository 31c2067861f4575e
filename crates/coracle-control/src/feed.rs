//! The feed of the gateways: route tables out, reports in.
//!
//! Theory of operation: the route controller publishes what the table should say; the feed gives it a
//! generation that only ever grows, over restarts too: generations are reserved in the store in blocks, and
//! a start begins behind the last block. Gateways report which generation they applied; the reports are kept
//! in memory only, since a gateway that lives tells again. The feed also knows up to which revision of the store
//! its table tells: from both together follows when a write has reached the users.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coracle_model::name::Hostname;
use coracle_model::route::{GatewayReport, Route, RouteTable};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::OperationError;
use crate::keys;
use crate::objects::{Batch, Objects};

/// Generations reserved by one write to the store.
const BLOCK: u64 = 1000;

/// The most gateways whose reports are kept.
const MOST_GATEWAYS: usize = 256;

/// A table, once there is one.
pub type Published = Option<Arc<RouteTable>>;

/// The feed of the gateways. Clones share it.
#[derive(Clone, Debug)]
pub struct Feed {
    table: Arc<watch::Sender<Published>>,
    generations: Arc<tokio::sync::Mutex<Generations>>,
    gateways: Arc<Mutex<BTreeMap<String, SeenGateway>>>,
    reports: Arc<watch::Sender<u64>>,
    told: Arc<watch::Sender<u64>>,
    elsewhere: Arc<watch::Sender<u64>>,
}

/// Which generations were given out, and up to which they may be without asking the store.
#[derive(Debug)]
struct Generations {
    /// What they are reserved in: under the fence of whoever leads.
    objects: Objects,
    last: u64,
    reserved: u64,
}

/// A gateway that reported.
#[derive(Clone, Debug)]
pub struct SeenGateway {
    /// What it said last.
    pub report: GatewayReport,
    /// When it was last heard of.
    pub at: Instant,
    /// When it reported last.
    pub reported: Instant,
    /// How many of its connections to the feed are open.
    pub connections: u32,
}

impl SeenGateway {
    /// A gateway that neither is connected nor reported for this long is taken for gone.
    pub const GONE_AFTER: Duration = Duration::from_secs(45);

    /// Does it still count?
    #[must_use]
    pub fn is_there(&self, now: Instant) -> bool {
        self.connections > 0 || now.duration_since(self.at) < Self::GONE_AFTER
    }
}

/// Did something reach the gateways?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// All that are connected.
    All,
    /// One at least did not say so in time.
    NotInTime,
}

/// Tells when gateways may have come further.
#[derive(Debug)]
pub struct Progress {
    told: watch::Receiver<u64>,
    reports: watch::Receiver<u64>,
}

impl Progress {
    /// Waits until they may have.
    pub async fn changed(&mut self) {
        // An error would mean that the feed is gone, and then nobody asks.
        tokio::select! {
            _ = self.told.changed() => {}
            _ = self.reports.changed() => {}
        }
    }
}

/// An open connection of a gateway to the feed; while it lives the gateway counts as there.
#[derive(Debug)]
pub struct Connection {
    feed: Feed,
    id: String,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut gateways = self
            .feed
            .gateways
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(gateway) = gateways.get_mut(&self.id) {
            gateway.connections = gateway.connections.saturating_sub(1);
            gateway.at = Instant::now();
        }
    }
}

impl Feed {
    /// Opens the feed. No table is told until the first [`Feed::publish`], so that a control plane that has
    /// just started does not take routes away from gateways that have them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open(objects: Objects) -> Result<Self, OperationError> {
        let reserved = objects
            .get_record::<u64>(keys::ROUTE_GENERATION)
            .await?
            .unwrap_or(0);
        Ok(Self {
            table: Arc::new(watch::Sender::new(None)),
            generations: Arc::new(tokio::sync::Mutex::new(Generations {
                objects,
                last: reserved,
                reserved,
            })),
            gateways: Arc::default(),
            reports: Arc::new(watch::Sender::new(0)),
            told: Arc::new(watch::Sender::new(0)),
            elsewhere: Arc::new(watch::Sender::new(0)),
        })
    }

    /// Goes on behind the generations that other control planes gave out meanwhile, and reserves the next ones
    /// through `objects`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn lead(&self, objects: Objects) -> Result<(), OperationError> {
        let mut generations = self.generations.lock().await;
        let reserved = objects
            .get_record::<u64>(keys::ROUTE_GENERATION)
            .await?
            .unwrap_or(0);
        generations.last = generations.last.max(reserved);
        generations.reserved = reserved;
        generations.objects = objects;
        Ok(())
    }

    /// Tells the gateways where each host goes, and returns the generation of that. The same routes as
    /// before are no new generation.
    ///
    /// # Errors
    /// When generations cannot be reserved; nothing is told then.
    pub async fn publish(&self, routes: BTreeMap<Hostname, Route>) -> Result<u64, OperationError> {
        let mut generations = self.generations.lock().await;
        if let Some(current) = self
            .table
            .borrow()
            .as_ref()
            .filter(|current| current.routes == routes)
        {
            return Ok(current.generation);
        }
        let next = generations.last + 1;
        self.tell(&mut generations, next, routes).await
    }

    async fn tell(
        &self,
        generations: &mut Generations,
        generation: u64,
        routes: BTreeMap<Hostname, Route>,
    ) -> Result<u64, OperationError> {
        if generation > generations.reserved {
            let upper = generation + BLOCK;
            generations
                .objects
                .write(Batch::new().set(keys::ROUTE_GENERATION.to_owned(), &upper)?)
                .await?;
            generations.reserved = upper;
        }
        generations.last = generation;
        self.table
            .send_replace(Some(Arc::new(RouteTable { generation, routes })));
        self.reports.send_modify(|version| *version += 1);
        Ok(generation)
    }

    /// Notes that the table tells all that the store had at `revision`.
    pub fn tells(&self, revision: u64) {
        self.told.send_if_modified(|told| {
            let newer = revision > *told;
            *told = revision.max(*told);
            newer
        });
    }

    /// Waits until every gateway that is connected has a table which tells all that the store had at `revision`,
    /// but no longer than `most`: a gateway that is stuck is no reason to wait for ever.
    pub async fn reached_gateways(&self, revision: u64, most: Duration) -> Reached {
        let reached = async {
            let (mut told, mut reports) = (self.told.subscribe(), self.reports.subscribe());
            // The senders live as long as `self`.
            if told.wait_for(|told| *told >= revision).await.is_err() {
                return;
            }
            let generation = self
                .table
                .borrow()
                .as_ref()
                .map_or(0, |table| table.generation);
            let all = |_: &u64| {
                self.gateways()
                    .values()
                    .filter(|gateway| gateway.connections > 0)
                    .all(|gateway| gateway.report.generation >= generation)
            };
            drop(reports.wait_for(all).await);
        };
        match tokio::time::timeout(most, reached).await {
            Ok(()) => Reached::All,
            Err(_elapsed) => Reached::NotInTime,
        }
    }

    /// The newest revision of the store that every connected gateway has the routes of; 0 when one is behind.
    #[must_use]
    pub fn served_here(&self) -> u64 {
        let told = *self.told.borrow();
        let generation = self.table.borrow().as_ref().map(|table| table.generation);
        let behind = self
            .gateways()
            .into_values()
            .any(|gateway| gateway.connections > 0 && Some(gateway.report.generation) < generation);
        if behind { 0 } else { told }
    }

    /// Tells when [`Feed::served_here`] may have changed.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            told: self.told.subscribe(),
            reports: self.reports.subscribe(),
        }
    }

    /// Takes note of what another control plane says that all gateways have.
    pub fn note_served(&self, revision: u64) {
        self.elsewhere
            .send_modify(|served| *served = revision.max(*served));
    }

    /// As [`Feed::reached_gateways`], by what another control plane says of the gateways.
    pub async fn reached_elsewhere(&self, revision: u64, most: Duration) -> Reached {
        let mut elsewhere = self.elsewhere.subscribe();
        let reached = elsewhere.wait_for(|served| *served >= revision);
        match tokio::time::timeout(most, reached).await {
            Ok(Ok(_)) => Reached::All,
            Ok(Err(_)) | Err(_) => Reached::NotInTime,
        }
    }

    /// The table and its changes; `None` until the first [`Feed::publish`] since the start.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Published> {
        self.table.subscribe()
    }

    /// Counts an open connection of gateway `id`.
    #[must_use]
    pub fn connected(&self, id: &str) -> Connection {
        self.seen(id, |gateway| gateway.connections += 1);
        Connection {
            feed: self.clone(),
            id: id.to_owned(),
        }
    }

    /// Takes a gateway's report. A gateway that has a table from the future (the data directory was
    /// restored from a backup) moves the generations behind it, so that it listens again.
    ///
    /// # Errors
    /// When generations cannot be reserved.
    pub async fn report(&self, id: &str, report: GatewayReport) -> Result<(), OperationError> {
        let ahead = report.generation;
        self.seen(id, |gateway| {
            gateway.report = report;
            gateway.reported = gateway.at;
        });
        let mut generations = self.generations.lock().await;
        let current = self.table.borrow().clone();
        if let Some(current) = current.filter(|current| ahead > current.generation) {
            self.tell(&mut generations, ahead + 1, current.routes.clone())
                .await?;
        }
        self.reports.send_modify(|version| *version += 1);
        Ok(())
    }

    fn seen(&self, id: &str, change: impl FnOnce(&mut SeenGateway)) {
        let now = Instant::now();
        let mut gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        gateways.retain(|_, gateway| gateway.is_there(now));
        if gateways.len() >= MOST_GATEWAYS && !gateways.contains_key(id) {
            tracing::warn!(id, "too many gateways: this one's reports are not kept");
            return;
        }
        let gateway = gateways
            .entry(id.to_owned())
            .or_insert_with(|| SeenGateway {
                report: GatewayReport::default(),
                at: now,
                reported: now,
                connections: 0,
            });
        gateway.at = now;
        change(gateway);
    }

    /// Every gateway that is there, by its id.
    #[must_use]
    pub fn gateways(&self) -> BTreeMap<String, SeenGateway> {
        let now = Instant::now();
        let gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        gateways
            .iter()
            .filter(|(_, seen)| seen.is_there(now))
            .map(|(id, seen)| (id.clone(), seen.clone()))
            .collect()
    }

    /// Changes whenever a table was published or a gateway reported.
    #[must_use]
    pub fn reports(&self) -> watch::Receiver<u64> {
        self.reports.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_store::{Embedded, EmbeddedConfig};

    #[tokio::test]
    async fn a_write_has_reached_the_gateways_when_each_that_is_connected_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(dir.path(), EmbeddedConfig::default()).unwrap();
        let feed = Feed::open(Objects::new(Arc::new(store))).await.unwrap();
        let short = Duration::from_millis(20);
        let reached = |revision| feed.reached_gateways(revision, short);
        assert_eq!(reached(7).await, Reached::NotInTime, "the table is older");
        let generation = feed.publish(BTreeMap::new()).await.unwrap();
        feed.tells(7);
        feed.tells(3);
        assert_eq!(reached(7).await, Reached::All, "there is no gateway");
        let connection = feed.connected("g");
        assert_eq!(reached(7).await, Reached::NotInTime, "it did not say so");
        let report = |generation| GatewayReport {
            generation,
            ..GatewayReport::default()
        };
        feed.report("g", report(generation)).await.unwrap();
        assert_eq!(reached(7).await, Reached::All);
        assert_eq!(reached(8).await, Reached::NotInTime, "nobody told of it");
        feed.report("g", report(0)).await.unwrap();
        drop(connection);
        assert_eq!(
            reached(7).await,
            Reached::All,
            "it is not connected any more"
        );
    }
}
