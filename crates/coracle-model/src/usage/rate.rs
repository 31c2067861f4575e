//! From what only grows to rates.
//!
//! Theory of operation: an amount that was read twice gives a rate over the time between the readings, by the clock of
//! whoever measured: a kubelet measures every ten seconds or so and is asked every fifteen, and by our own clock its rates
//! would swing by a third. An amount that was not measured again keeps its rate for a while. One that fell began anew.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Processor, Reading, STEP_SECONDS, Total};
use crate::route::{AppTraffic, wait_bounds};

/// So many samples in a row a rate is kept that was not measured again.
const HELD: u8 = 4;

/// A gateway tells of its counters at most that long after they changed.
const REPORTED_WITHIN: Duration = Duration::from_secs(10);

/// The rate of an amount that only grows.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    last: Option<Total>,
    rate: Option<f64>,
    held: u8,
}

impl Flow {
    /// The amount in a second, since it was measured before.
    fn next(&mut self, total: Option<Total>) -> Option<f64> {
        let (last, now) = match (self.last, total) {
            (Some(last), Some(now)) => (last, now),
            (_, total) => {
                *self = Self {
                    last: total,
                    ..Self::default()
                };
                return None;
            }
        };
        if now == last && self.held < HELD {
            self.held += 1;
            return self.rate;
        }
        let passed = now.at.saturating_sub(last.at).as_secs_f64();
        let grown = now.amount.checked_sub(last.amount);
        *self = Self {
            last: total,
            rate: grown
                .filter(|_| passed > 0.0)
                .map(|grown| whole(grown) / passed),
            held: 0,
        };
        self.rate
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "what passes between two samples is far below 2^52"
)]
const fn whole(amount: u64) -> f64 {
    amount as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rates are shown to people: seven digits are more than they read"
)]
const fn short(rate: f64) -> f32 {
    rate as f32
}

/// Turns the readings of one pod or node into rates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    cpu: Flow,
    network_in: Flow,
    network_out: Flow,
}

/// Rates of one pod or node.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Processors in use.
    pub cpu: Option<f32>,
    /// Bytes received in a second.
    pub network_in: Option<f32>,
    /// Bytes sent in a second.
    pub network_out: Option<f32>,
}

impl Meter {
    /// What follows from a reading and those before.
    pub fn read(&mut self, reading: &Reading) -> Rates {
        let cpu = match reading.cpu {
            Some(Processor::Time(total)) => {
                let nanos = self.cpu.next(Some(total));
                nanos.map(|nanos| nanos / 1e9)
            }
            Some(Processor::Cores(cores)) => Some(cores),
            None => self.cpu.next(None),
        };
        Rates {
            cpu: cpu.map(short),
            network_in: self.network_in.next(reading.network_in).map(short),
            network_out: self.network_out.next(reading.network_out).map(short),
        }
    }
}

/// What a gateway said last.
#[derive(Clone, Debug)]
pub struct GatewayCounters {
    /// When, by any clock that never goes back.
    pub at: Duration,
    /// Its counters, by `project/app`.
    pub apps: BTreeMap<String, AppTraffic>,
}

/// What users ask of an app.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AppRates {
    /// Requests in a second.
    pub requests: f32,
    /// Those of them, in a second, that were answered with a status of 500 or more.
    pub errors: f32,
    /// Milliseconds to the first byte of half of the answers; of gateways that tell no more than the sum, the mean.
    pub latency: Option<f32>,
}

/// Turns the counters of gateways into rates.
#[derive(Clone, Debug, Default)]
pub struct TrafficMeter {
    gateways: BTreeMap<String, GatewayCounters>,
}

/// What was counted since the sample before.
#[derive(Clone, Debug, Default)]
struct Counted {
    requests: f64,
    errors: f64,
    /// Of the answers whose time is known by the sum alone: their number and microseconds.
    summed: (u64, u64),
    waits: Vec<u64>,
}

impl TrafficMeter {
    /// Rates by `project/app`, since the sample before. Of a gateway that was not there then, nothing follows yet.
    pub fn read(
        &mut self,
        gateways: BTreeMap<String, GatewayCounters>,
    ) -> BTreeMap<String, AppRates> {
        let mut counted: BTreeMap<&str, Counted> = BTreeMap::new();
        for (id, now) in &gateways {
            let Some(before) = self.gateways.get(id) else {
                continue;
            };
            let seconds = seconds_between(before.at, now.at);
            for (app, traffic) in &now.apps {
                let known = before.apps.get(app);
                counted.entry(app).or_default().add(known, traffic, seconds);
            }
        }
        let rates = counted
            .into_iter()
            .map(|(app, counted)| (app.to_owned(), counted.rates()))
            .collect();
        self.gateways = gateways;
        rates
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.gateways.clear();
    }
}

/// The time in which a gateway has counted. Reports come some time after what they tell of, so that their own times are
/// nearer to it than ours; but none comes while nothing happens, and then the report before is long ago.
fn seconds_between(before: Duration, now: Duration) -> f64 {
    let step = Duration::from_secs(u64::from(STEP_SECONDS));
    let passed = now.saturating_sub(before);
    passed.clamp(step / 2, step + REPORTED_WITHIN).as_secs_f64()
}

impl Counted {
    fn add(&mut self, before: Option<&AppTraffic>, now: &AppTraffic, seconds: f64) {
        let none = AppTraffic::default();
        let total = |traffic: &AppTraffic| traffic.answers.iter().sum::<u64>();
        // A gateway that began anew counts from nothing.
        let before = before
            .filter(|before| total(before) <= total(now))
            .unwrap_or(&none);
        let requests = total(now) - total(before);
        let errors = now.answers[4].saturating_sub(before.answers[4]);
        self.requests += whole(requests) / seconds;
        self.errors += whole(errors) / seconds;
        if now.waits.is_empty() {
            self.summed.0 += requests;
            self.summed.1 += now.wait_micros.saturating_sub(before.wait_micros);
            return;
        }
        // What a later version counts in more parts than this one knows is left out.
        let parts = now.waits.len().min(wait_bounds().count() + 1);
        self.waits.resize(self.waits.len().max(parts), 0);
        for (part, count) in self.waits.iter_mut().zip(&now.waits).enumerate() {
            let (sum, now) = count;
            *sum += now.saturating_sub(before.waits.get(part).copied().unwrap_or_default());
        }
    }

    fn rates(&self) -> AppRates {
        let (answers, micros) = self.summed;
        let mean = (answers > 0).then(|| whole(micros) / whole(answers) / 1e3);
        AppRates {
            requests: short(self.requests),
            errors: short(self.errors),
            latency: median(&self.waits).or(mean).map(short),
        }
    }
}

/// The median in milliseconds of times that are counted in parts, as [`wait_bounds`] has them.
fn median(counts: &[u64]) -> Option<f64> {
    let all: u64 = counts.iter().sum();
    let half = whole(all) / 2.0;
    let mut below = 0.0;
    let mut from = 0.0;
    for (count, bound) in counts.iter().zip(wait_bounds().chain([u64::MAX])) {
        let count = whole(*count);
        if count > 0.0 && below + count >= half {
            // What is beyond the last bound is told as that.
            let to = if bound == u64::MAX {
                from
            } else {
                whole(bound)
            };
            return Some((from + (to - from) * (half - below) / count) / 1e3);
        }
        below += count;
        from = whole(bound);
    }
    None
}

#[cfg(test)]
mod tests;
