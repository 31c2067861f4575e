//! The suite's factory for the simulated engine.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coracle_model::name::ImageRef;
use coracle_model::workload::PodId;

use super::bench::Given as _;
use super::{Factory, World};
use crate::engine::{Engine, Support};
use crate::sim::{Behaviour, SimConfig, SimControl, SimImage, SimWorld};

/// Simulated platforms.
#[derive(Clone, Debug, Default)]
pub struct SimFactory {
    /// What each world is set to.
    pub config: SimConfig,
}

/// A simulated platform under test.
#[derive(Clone, Debug)]
pub struct TestedWorld {
    world: SimWorld,
}

const IMAGE: &str = "coracle-test:1";

#[async_trait]
impl Factory for SimFactory {
    async fn world(&self) -> Box<dyn World> {
        Box::new(TestedWorld::new(self.config.clone()))
    }
}

impl TestedWorld {
    /// A fresh one, with the test image.
    #[must_use]
    pub fn new(config: SimConfig) -> Self {
        let world = SimWorld::new(config);
        world
            .control()
            .define(SimImage::busybox(IMAGE).behaviour(Behaviour::serves()));
        Self { world }
    }

    /// The hand in it.
    #[must_use]
    pub fn control(&self) -> SimControl {
        self.world.control()
    }
}

#[async_trait]
impl World for TestedWorld {
    async fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.world.engine())
    }

    fn image(&self) -> ImageRef {
        ImageRef::new(IMAGE).given("the image's name")
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(600)
    }

    async fn cut_off(&self) -> Support {
        self.control().daemon_down();
        Support::Yes
    }

    async fn reconnect(&self) {
        self.control().daemon_up();
    }

    async fn vanish(&self, pod: &PodId) {
        self.control().vanish(pod);
    }

    async fn kill(&self, pod: &PodId) {
        self.control().kill(pod);
    }

    async fn push_target(&self) -> Option<ImageRef> {
        Some(ImageRef::new("127.0.0.1:7070/default/built:1").given("an image"))
    }

    async fn leftovers(&self) -> Vec<String> {
        let mut left = self.control().leftovers();
        left.retain(|name| !name.starts_with("volume "));
        left
    }

    async fn close(&self) {
        let violations = self.control().violations();
        assert!(
            violations.is_empty(),
            "{violations:#?}\n{}",
            self.control().journal_text()
        );
    }
}
