//! The simulated engine keeps the laws, on one node and on several.

use coracle_engine::conformance::SimFactory;
use coracle_engine::sim::SimConfig;

coracle_engine::engine_conformance!(
    #[tokio::test(start_paused = true)]
    SimFactory::default()
);

mod on_three_nodes {
    use super::{SimConfig, SimFactory};

    coracle_engine::engine_conformance!(
        #[tokio::test(start_paused = true)]
        SimFactory {
            config: SimConfig::with_nodes(3)
        }
    );
}
