//! What a simulated world is set to: seed, latencies, nodes.

use std::time::Duration;

use chrono::{DateTime, Utc};
use coracle_model::node::NodeResources;

/// What a simulated world is set to.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Where its chance comes from: pod names, and latencies that have a spread.
    pub seed: u64,
    /// How long things take.
    pub latencies: Latencies,
    /// Pause before a pod that ended is started again: the first, doubling.
    pub backoff_first: Duration,
    /// The longest such pause.
    pub backoff_most: Duration,
    /// Events that a watcher may lag behind before it gets a fresh start.
    pub watch_buffer: usize,
    /// The machines.
    pub nodes: Vec<NodeConfig>,
    /// The wall clock's time at the beginning of the world.
    pub epoch: DateTime<Utc>,
}

/// A machine of the simulated world.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its name.
    pub name: String,
    /// What it has.
    pub capacity: NodeResources,
}

impl NodeConfig {
    /// A node with 4 processors and 8 GiB.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            capacity: NodeResources {
                cpu: 4.0,
                memory_bytes: 8 << 30,
                disk_bytes: Some(100 << 30),
                pods: None,
            },
        }
    }
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            latencies: Latencies::default(),
            backoff_first: Duration::from_millis(100),
            backoff_most: Duration::from_secs(60),
            watch_buffer: 1024,
            nodes: vec![NodeConfig::named("node-a")],
            epoch: DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default(),
        }
    }
}

impl SimConfig {
    /// The defaults with so many machines: `node-a`, `node-b`, and so on.
    #[must_use]
    pub fn with_nodes(count: u8) -> Self {
        let names = (b'a'..=b'z').take(usize::from(count));
        Self {
            nodes: names
                .map(|letter| NodeConfig::named(&format!("node-{}", char::from(letter))))
                .collect(),
            ..Self::default()
        }
    }

    /// Latencies with a spread, so that another seed is another order of events.
    #[must_use]
    pub fn jittery(seed: u64) -> Self {
        let mut config = Self {
            seed,
            ..Self::default()
        };
        let l = &mut config.latencies;
        for latency in [
            &mut l.call,
            &mut l.pull,
            &mut l.create,
            &mut l.start,
            &mut l.probe,
            &mut l.stop,
        ] {
            latency.spread = latency.least * 4 + Duration::from_millis(5);
        }
        config
    }
}

/// How long things take in the simulated world.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// Any call of the engine.
    pub call: Latency,
    /// Fetching an image that is not here yet.
    pub pull: Latency,
    /// Making a pod.
    pub create: Latency,
    /// Starting its command.
    pub start: Latency,
    /// From the moment it answers until that is noticed.
    pub probe: Latency,
    /// From SIGTERM to the end of a command that obeys.
    pub stop: Latency,
    /// Each step of a build.
    pub build_step: Latency,
}

impl Default for Latencies {
    /// Those of a Docker Engine on a small machine, without spread.
    fn default() -> Self {
        Self {
            call: Latency::ms(0),
            pull: Latency::ms(2000),
            create: Latency::ms(200),
            start: Latency::ms(200),
            probe: Latency::ms(20),
            stop: Latency::ms(50),
            build_step: Latency::ms(500),
        }
    }
}

/// A time with some chance in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// At least.
    pub least: Duration,
    /// And up to this much more.
    pub spread: Duration,
}

impl Latency {
    /// Always so many milliseconds.
    #[must_use]
    pub const fn ms(millis: u64) -> Self {
        Self {
            least: Duration::from_millis(millis),
            spread: Duration::ZERO,
        }
    }

    /// One draw.
    pub(super) fn draw(self, rng: &mut Rng) -> Duration {
        let spread = u64::try_from(self.spread.as_millis()).unwrap_or(u64::MAX - 1);
        self.least + Duration::from_millis(rng.below(spread + 1))
    }
}

/// A small generator (xorshift64*): reproducible on every machine, not for secrets.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        // Zero is the one state it would never leave.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // The low bits of this generator are its weakest.
        if bound <= 1 {
            0
        } else {
            (self.next() >> 16) % bound
        }
    }

    /// Five letters and digits, the first a letter: the end of a pod's name.
    pub(super) fn suffix(&mut self) -> String {
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
        const ALL: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        (0..5)
            .map(|at| if at == 0 { LETTERS } else { ALL })
            .map(|set| {
                let n = usize::try_from(self.below(set.len() as u64)).unwrap_or(0);
                char::from(set[n])
            })
            .collect()
    }
}
