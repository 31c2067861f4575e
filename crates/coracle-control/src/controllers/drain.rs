//! Drains: tells the engine which stopping pods have no request in flight, as `plan::drain` says.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use coracle_model::plan::drain::{self, Ledger};
use coracle_model::route::{GatewayReport, RouteTable};
use coracle_model::workload::PodId;

use crate::controllers::change::Change;
use crate::controllers::key::Everything;
use crate::controllers::runner::{Next, Reconciler};
use crate::controllers::scene::Scene;
use crate::error::OperationError;

/// What is known of the tables that were published: written by whoever publishes, read here.
#[derive(Clone, Debug, Default)]
pub struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    /// Takes note of a table.
    pub fn note(&self, table: &RouteTable) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .note(table);
    }

    fn read<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Tells the engine which pods are drained.
pub struct DrainController {
    scene: Arc<Scene>,
    ledger: SharedLedger,
    told: Mutex<BTreeSet<PodId>>,
}

impl DrainController {
    pub(super) fn new(scene: &Arc<Scene>, ledger: SharedLedger) -> Self {
        Self {
            scene: Arc::clone(scene),
            ledger,
            told: Mutex::default(),
        }
    }
}

#[async_trait]
impl Reconciler for DrainController {
    type Key = Everything;
    const NAME: &'static str = "drain";
    const AT_ONCE: usize = 1;

    async fn keys(&self) -> Result<Vec<Everything>, OperationError> {
        Ok(vec![Everything])
    }

    fn concerns(&self, change: &Change<'_>) -> Option<Everything> {
        matches!(change, Change::Gateways | Change::Pod(..)).then_some(Everything)
    }

    async fn reconcile(&self, _: &Everything) -> Result<Next, OperationError> {
        let control = &self.scene.control;
        // The feed publishes by itself when a gateway is ahead of it.
        if let Some(table) = control.feed.subscribe().borrow().as_ref() {
            self.ledger.note(table);
        }
        let pods = control.observed.pods();
        let pods: Vec<_> = pods.iter().map(AsRef::as_ref).collect();
        let reports: Vec<GatewayReport> = control
            .feed
            .gateways()
            .into_values()
            .map(|seen| seen.report)
            .collect();
        let drained = self
            .ledger
            .read(|ledger| drain::plan(ledger, &reports, &pods));
        let new: Vec<PodId> = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.retain(|id| drained.contains(id));
            drained
                .into_iter()
                .filter(|id| !told.contains(id))
                .collect()
        };
        for pod in new {
            tracing::debug!(%pod, "drained");
            control.engine.drained(&pod).await?;
            self.told
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(pod);
        }
        Ok(Next::Rest)
    }
}
