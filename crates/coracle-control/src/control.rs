//! Everything that operations and controllers work with.

use std::sync::Arc;

use coracle_engine::Engine;
use coracle_store::{Fence, Fenced, Store};
use coracle_task::Supervisor;

use crate::build_log::BuildLogs;
use crate::error::OperationError;
use crate::feed::Feed;
use crate::image::ImageTags;
use crate::journal::Journal;
use crate::leading::Leading;
use crate::objects::Objects;
use crate::observed::Observed;
use crate::settings::Settings;
use crate::settings::wished::InForce;
use crate::usage::UsageHistory;
use crate::vault::Vault;

/// Everything that operations and controllers work with. Clones share it.
#[derive(Clone)]
pub struct Control {
    /// Desired state and statuses.
    pub objects: Objects,
    /// What runs.
    pub engine: Arc<dyn Engine>,
    /// What the engine reports.
    pub observed: Observed,
    /// The gateways.
    pub feed: Feed,
    /// Secrets.
    pub vault: Vault,
    /// What happened.
    pub journal: Journal,
    /// What was used, over time: where controllers run.
    pub usage: UsageHistory,
    /// Logs of builds.
    pub build_logs: BuildLogs,
    /// The registry's tags. Without them the images of builds keep the tags that they were pushed under.
    pub image_tags: Option<Arc<dyn ImageTags>>,
    /// Does this process lead?
    pub leading: Leading,
    /// How this platform is set up.
    pub settings: Arc<Settings>,
    /// What of it was set since.
    pub(crate) in_force: InForce,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Control {
    /// Puts the parts together and begins to follow the engine. The controllers are started apart, by
    /// whoever leads.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open(
        store: Arc<dyn Store>,
        engine: Arc<dyn Engine>,
        vault: Vault,
        settings: Settings,
        supervisor: &Supervisor,
    ) -> Result<Self, OperationError> {
        let objects = Objects::new(store);
        let feed = Feed::open(objects.clone()).await?;
        let in_force = InForce::follow(&objects, supervisor).await?;
        let control = Self {
            observed: Observed::follow(Arc::clone(&engine), supervisor),
            feed,
            journal: Journal::new(objects.clone()),
            usage: UsageHistory::default(),
            build_logs: BuildLogs::new(settings.build_logs_dir(), settings.limits.build_log_bytes),
            objects,
            engine,
            vault,
            image_tags: None,
            leading: Leading::alone(),
            settings: Arc::new(settings),
            in_force,
        };
        control.ensure_default_project().await?;
        Ok(control)
    }

    /// The same with the registry, which needs to know who may do what before it can be opened.
    #[must_use]
    pub fn with_image_tags(mut self, tags: Arc<dyn ImageTags>) -> Self {
        self.image_tags = Some(tags);
        self
    }

    /// The same as one of several control planes on its store, which does not lead until it is told.
    #[must_use]
    pub fn one_of_several(mut self) -> Self {
        self.leading = Leading::one_of_several();
        self
    }

    /// The same for the controllers of a leader: every write is made under its fence, the gateways' feed goes on
    /// behind the generations of the leader before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn under(&self, fence: &Fence) -> Result<Self, OperationError> {
        let store = Fenced::new(Arc::clone(self.objects.store()), fence.clone());
        let objects = Objects::new(Arc::new(store));
        self.feed.lead(objects.clone()).await?;
        Ok(Self {
            journal: Journal::new(objects.clone()),
            objects,
            ..self.clone()
        })
    }
}
