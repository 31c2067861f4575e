//! The simulated engine keeps the laws.

use coracle_engine::conformance::SimFactory;

coracle_engine::engine_conformance!(
    #[tokio::test(start_paused = true)]
    SimFactory::default()
);
