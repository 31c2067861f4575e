//! A deterministic engine in memory, on tokio's clock.
//!
//! Theory of operation: a [`SimWorld`] is a machine with its daemon: images, pods, volumes, networks. It lives on
//! whatever engines come and go. [`SimWorld::engine`] is the start of a control plane's engine: it has no wishes,
//! it sees the pods that exist, and the engine before it is dead from then on. A test holds the world through
//! [`SimControl`]: it defines images, makes calls fail, kills what it likes and reads the journal.
//!
//! All that takes time takes it on tokio's clock, so under `#[tokio::test(start_paused = true)]` hours pass in
//! milliseconds, and the same seed and calls give the same journal.
//!
//! ```
//! use coracle_engine::sim::{Behaviour, SimConfig, SimWorld, image};
//! # async fn example() {
//! let world = SimWorld::new(SimConfig::default());
//! world.control().define(image("hello:1").ports([8080]).behaviour(Behaviour::serves()));
//! let engine = world.engine(); // an `Engine`
//! // … apply workloads, watch, then the control plane dies and comes back:
//! let engine = world.engine();
//! # }
//! ```

mod build;
mod config;
mod console;
mod control;
mod engine;
mod health;
mod image;
mod journal;
mod network;
mod pod;
mod process;
mod program;
mod reconcile;
mod seat;
mod session;
mod shell;
mod starting;
mod state;
mod stopping;
mod usage;
mod watch;

pub use build::BuildScript;
pub use config::{Latencies, Latency, NodeConfig, SimConfig};
pub use control::SimControl;
pub use image::{SimImage, image};
pub use journal::{Act, Entry};
pub use program::{Behaviour, Keep, Step};

use std::sync::{Arc, Mutex, PoisonError};

use coracle_task::Supervisor;
use tokio::sync::Notify;

use state::State;

/// A simulated machine with its daemon. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct SimWorld {
    inner: Arc<Inner>,
}

/// An engine on a [`SimWorld`]: the sort that dies with the control plane. Clones are the same engine.
#[derive(Clone, Debug)]
pub struct SimEngine {
    world: Arc<Inner>,
    seat: u64,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Wakes the clock's task: the next event may be due sooner than it thinks.
    wake: Arc<Notify>,
    tasks: Supervisor,
}

impl Inner {
    /// Brings the world to now, does something in it, and lets it settle.
    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.advance();
        let result = act(&mut state);
        state.settle();
        drop(state);
        self.wake.notify_one();
        result
    }

    /// As [`Inner::with`], for the clock itself, which need not wake itself.
    fn tick(&self) -> Option<tokio::time::Instant> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.advance();
        state.settle();
        state.due()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The clock's task finds the world gone and ends.
        self.wake.notify_one();
    }
}

impl SimWorld {
    /// A new, empty world whose time begins now. Call it inside a tokio runtime.
    #[must_use]
    pub fn new(config: SimConfig) -> Self {
        let tasks = Supervisor::new("sim");
        let wake = Arc::new(Notify::new());
        let inner = Arc::new(Inner {
            state: Mutex::new(State::new(config)),
            wake: Arc::clone(&wake),
            tasks: tasks.clone(),
        });
        let world = Arc::downgrade(&inner);
        tasks.spawn("clock", async move {
            while let Some(due) = world.upgrade().map(|world| world.tick()) {
                match due {
                    Some(due) => {
                        tokio::select! {
                            () = tokio::time::sleep_until(due) => {}
                            () = wake.notified() => {}
                        }
                    }
                    None => wake.notified().await,
                }
            }
        });
        Self { inner }
    }

    /// A control plane's engine begins its life: without wishes, and the one before it is dead.
    #[must_use]
    pub fn engine(&self) -> SimEngine {
        let seat = self.inner.with(State::sit_down);
        SimEngine {
            world: Arc::clone(&self.inner),
            seat,
        }
    }

    /// The test's hand in this world.
    #[must_use]
    pub fn control(&self) -> SimControl {
        SimControl {
            world: Arc::clone(&self.inner),
        }
    }
}
