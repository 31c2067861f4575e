//! What every handler has.

use std::sync::Arc;
use std::time::Instant;

use coracle_control::Control;
use coracle_engine::ContextDesk;
use coracle_model::env::Secret;
use coracle_registry::Registry;
use coracle_task::Supervisor;
use tokio::sync::Mutex;

use crate::connect::places::{ConnectLimits, Connections};
use crate::credentials::Authentication;
use crate::dashboard::Dashboard;
use crate::image;
use crate::readiness::Readiness;
use crate::throttle::Throttle;

/// What every handler has. Clones share it.
#[derive(Clone)]
pub struct ApiState {
    pub(crate) control: Control,
    pub(crate) registry: Registry,
    pub(crate) authentication: Authentication,
    pub(crate) gateway_token: Arc<Secret>,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) supervisor: Supervisor,
    pub(crate) statuses: Arc<dyn StatusSource>,
    pub(crate) started: Instant,
    pub(crate) readiness: Readiness,
    /// Where sources are laid out for builds on other machines.
    pub(crate) desk: ContextDesk,
    /// The connections to pods that are open.
    pub(crate) connections: Connections,
    /// The dashboard's files.
    pub(crate) dashboard: Dashboard,
    /// Held by the import that is under way.
    pub(crate) importing: Arc<Mutex<()>>,
}

/// Tells how the controllers are.
pub trait StatusSource: Send + Sync {
    /// As JSON, by controller.
    fn controllers(&self) -> serde_json::Value;
}

impl ApiState {
    /// Over the control plane's parts. `gateway_token` is what gateways present.
    #[must_use]
    pub fn new(
        control: Control,
        registry: Registry,
        gateway_token: Secret,
        statuses: Arc<dyn StatusSource>,
        supervisor: Supervisor,
    ) -> Self {
        image::follow(&control, &registry, &supervisor);
        Self {
            authentication: Authentication::new(control.clone()),
            control,
            registry,
            gateway_token: Arc::new(gateway_token),
            throttle: Arc::default(),
            supervisor,
            statuses,
            started: Instant::now(),
            readiness: Readiness::default(),
            desk: ContextDesk::default(),
            connections: Connections::default(),
            dashboard: Dashboard::embedded(),
            importing: Arc::default(),
        }
    }

    /// The same, with other bounds of connections to pods.
    #[must_use]
    pub fn with_connect_limits(mut self, limits: ConnectLimits) -> Self {
        self.connections = Connections::new(limits);
        self
    }

    /// The same, with another dashboard.
    #[must_use]
    pub fn with_dashboard(mut self, dashboard: Dashboard) -> Self {
        self.dashboard = dashboard;
        self
    }

    /// The same, handing out the sources that an engine lays out there.
    #[must_use]
    pub fn with_desk(mut self, desk: ContextDesk) -> Self {
        self.desk = desk;
        self
    }
}
