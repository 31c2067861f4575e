//! What is kept of something over time.
//!
//! Theory of operation: time is cut into slots of 15 s, counted from the Unix epoch, and of 5 min beside them. A sample
//! belongs to the slot that it is of; a slot without one stays empty, so that every value's time follows from its place. Of
//! each row (one value per metric) an hour is kept in fine slots, and the means of a day in coarse ones. Both grow as they
//! are used, a little at a time, and never beyond that. A clock that was set back takes what it has not come to yet away.

use std::collections::VecDeque;

use super::{COARSE_STEP_SECONDS, Metric, STEP_SECONDS, UsageRange, UsageSeries};

/// Rows by which a ring grows.
const GROWTH: usize = 24;

/// What is kept of one pod, app or node.
#[derive(Clone, Debug)]
pub struct Track {
    metrics: &'static [Metric],
    fine: Ring,
    coarse: Ring,
    /// Of the coarse slot that goes on: its sum, and of how many values, for each metric.
    sums: Vec<(f64, u32)>,
    going_on: u64,
}

impl Track {
    /// Nothing yet, of these metrics.
    #[must_use]
    pub fn new(metrics: &'static [Metric]) -> Self {
        Self {
            metrics,
            fine: Ring::new(UsageRange::Hour.values(), metrics.len()),
            coarse: Ring::new(UsageRange::Day.values(), metrics.len()),
            sums: vec![(0.0, 0); metrics.len()],
            going_on: 0,
        }
    }

    /// Takes a sample at a time in seconds since the Unix epoch: a value for each metric, in their order.
    pub fn record(&mut self, at: u64, values: &[Option<f32>]) {
        let row = |metric: usize| {
            values
                .get(metric)
                .copied()
                .flatten()
                .filter(|v| v.is_finite())
        };
        let coarse = at / u64::from(COARSE_STEP_SECONDS);
        if coarse != self.going_on {
            self.close();
            self.going_on = coarse;
        }
        for (metric, (sum, count)) in self.sums.iter_mut().enumerate() {
            if let Some(value) = row(metric) {
                *sum += f64::from(value);
                *count += 1;
            }
        }
        let row = (0..self.metrics.len()).map(|metric| row(metric).unwrap_or(f32::NAN));
        self.fine.put(at / u64::from(STEP_SECONDS), row);
    }

    /// Ends the coarse slot that went on.
    fn close(&mut self) {
        if self.sums.iter().any(|(_, count)| *count > 0) {
            let means = self.sums.iter().map(|sum| mean(*sum).unwrap_or(f32::NAN));
            self.coarse.put(self.going_on, means);
        }
        self.sums.fill((0.0, 0));
    }

    /// A value for each slot of the range whose last one is that of `now`, and what of it is older than `since` left out.
    /// Both are seconds since the Unix epoch. Limits are for the caller to add.
    #[must_use]
    pub fn series(&self, range: UsageRange, now: u64, since: u64) -> Vec<UsageSeries> {
        let step = u64::from(range.step_seconds());
        let first = first_slot(range, now);
        let series = self.metrics.iter().enumerate().map(|(column, metric)| {
            let value = |slot: u64| {
                let began_before = (slot + 1) * step <= since;
                (!began_before).then(|| self.value(range, slot, column))?
            };
            let slots = first..first + range.values() as u64;
            UsageSeries {
                name: *metric,
                unit: metric.unit(),
                limit: None,
                values: slots.map(value).collect(),
            }
        });
        series.collect()
    }

    fn value(&self, range: UsageRange, slot: u64, column: usize) -> Option<f32> {
        match range {
            UsageRange::Hour => self.fine.get(slot, column),
            UsageRange::SixHours | UsageRange::Day if slot == self.going_on => {
                self.sums.get(column).and_then(|sum| mean(*sum))
            }
            UsageRange::SixHours | UsageRange::Day => self.coarse.get(slot, column),
        }
    }

    /// Seconds since the Unix epoch at which the newest sample's slot begins; none when there is no sample.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        (!self.fine.rows.is_empty()).then(|| self.fine.newest * u64::from(STEP_SECONDS))
    }

    /// Bytes that the values take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        (self.fine.rows.capacity() + self.coarse.rows.capacity()) * size_of::<f32>()
    }
}

/// The first slot of a range that ends with the slot of `now`.
const fn first_slot(range: UsageRange, now: u64) -> u64 {
    let last = now / range.step_seconds() as u64;
    (last + 1).saturating_sub(range.values() as u64)
}

/// When the first value of a range begins, in seconds since the Unix epoch.
#[must_use]
pub const fn begins(range: UsageRange, now: u64) -> u64 {
    first_slot(range, now) * range.step_seconds() as u64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "values are shown to people: seven digits are more than they read"
)]
fn mean((sum, count): (f64, u32)) -> Option<f32> {
    (count > 0).then(|| (sum / f64::from(count)) as f32)
}

/// The newest rows, one behind another without a gap.
#[derive(Clone, Debug)]
struct Ring {
    /// The most rows.
    keep: usize,
    width: usize,
    /// The slot of the last row.
    newest: u64,
    /// Row after row; a value that is not known is NaN.
    rows: VecDeque<f32>,
}

impl Ring {
    const fn new(keep: usize, width: usize) -> Self {
        Self {
            keep,
            width,
            newest: 0,
            rows: VecDeque::new(),
        }
    }

    fn put(&mut self, slot: u64, row: impl Iterator<Item = f32>) {
        while !self.rows.is_empty() && self.newest >= slot {
            self.rows.truncate(self.rows.len() - self.width);
            self.newest = self.newest.saturating_sub(1);
        }
        let missed = slot.saturating_sub(self.newest.saturating_add(1));
        match usize::try_from(missed) {
            Ok(missed) if missed < self.keep && !self.rows.is_empty() => {
                for _ in 0..missed {
                    self.push(std::iter::repeat_n(f32::NAN, self.width));
                }
            }
            _ if missed > 0 => self.rows.clear(),
            _ => {}
        }
        self.push(row);
        self.newest = slot;
    }

    fn push(&mut self, row: impl Iterator<Item = f32>) {
        if self.rows.len() >= self.keep * self.width {
            self.rows.drain(..self.width);
        } else if self.rows.len() + self.width > self.rows.capacity() {
            let room = self.keep * self.width - self.rows.len();
            self.rows.reserve_exact(room.min(GROWTH * self.width));
        }
        self.rows.extend(row);
    }

    fn get(&self, slot: u64, column: usize) -> Option<f32> {
        let back = usize::try_from(self.newest.checked_sub(slot)?).ok()?;
        let row = (self.rows.len() / self.width).checked_sub(back + 1)?;
        let value = self.rows.get(row * self.width + column)?;
        (!value.is_nan()).then_some(*value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const METRICS: &[Metric] = &[Metric::Cpu, Metric::Memory];
    const RANGES: [UsageRange; 3] = [UsageRange::Hour, UsageRange::SixHours, UsageRange::Day];

    /// The same, kept as plainly as can be: all samples that count.
    #[derive(Default)]
    struct Plain(BTreeMap<u64, Vec<Option<f32>>>);

    impl Plain {
        fn record(&mut self, at: u64, values: Vec<Option<f32>>) {
            let slot = at / u64::from(STEP_SECONDS);
            self.0.retain(|known, _| *known < slot);
            self.0.insert(slot, values);
        }

        fn value(&self, range: UsageRange, slot: u64, column: usize) -> Option<f32> {
            let fine = u64::from(range.step_seconds() / STEP_SECONDS);
            let of = self.0.range(slot * fine..(slot + 1) * fine);
            let of: Vec<f32> = of.filter_map(|(_, row)| row[column]).collect();
            let sum: f64 = of.iter().copied().map(f64::from).sum();
            mean((sum, u32::try_from(of.len()).unwrap()))
        }
    }

    fn close(a: Option<f32>, b: Option<f32>) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-3 * b.abs().max(1.0),
            (a, b) => a == b,
        }
    }

    proptest! {
        /// Samples at any times that go on, with gaps of any length between, are told as a plain list of them would.
        #[test]
        fn a_track_is_a_list_of_samples(
            start in 1_000_000_u64..2_000_000_000,
            steps in prop::collection::vec((prop_oneof![9 => 15..40_u64, 1 => 40..100_000_u64], prop::option::of(0.0..1e6_f32), prop::option::of(0.0..8.0_f32)), 0..400),
            later in 0..100_000_u64,
        ) {
            let (mut track, mut plain) = (Track::new(METRICS), Plain::default());
            let mut now = start;
            for (pause, a, b) in steps {
                now += pause;
                track.record(now, &[a, b]);
                plain.record(now, vec![a, b]);
            }
            now += later;
            for range in RANGES {
                let series = track.series(range, now, 0);
                let first = first_slot(range, now);
                for (column, one) in series.iter().enumerate() {
                    prop_assert_eq!(one.values.len(), range.values());
                    for (n, value) in one.values.iter().enumerate() {
                        let expected = plain.value(range, first + n as u64, column);
                        prop_assert!(close(*value, expected), "{range:?} {n}: {value:?}, not {expected:?}");
                    }
                }
            }
        }

        /// Whatever the clock does, no more is kept than the bound, and the newest sample is told.
        #[test]
        fn a_track_is_bounded_whatever_the_clock_does(times in prop::collection::vec(0..u64::MAX / 2, 1..50), steady in 0..1000_u64) {
            let mut track = Track::new(METRICS);
            for time in &times {
                track.record(*time, &[Some(1.0), None]);
            }
            let last = times.last().unwrap();
            for n in 0..=steady {
                track.record(last + 15 * n, &[Some(2.0), Some(f32::INFINITY)]);
            }
            let most = (UsageRange::Hour.values() + UsageRange::Day.values()) * METRICS.len();
            prop_assert!(track.bytes() <= most * size_of::<f32>());
            let now = last + 15 * steady;
            for range in RANGES {
                let series = track.series(range, now, 0);
                let newest = series[0].values.last().unwrap().unwrap();
                prop_assert!((1.0..=2.0).contains(&newest));
                prop_assert!(series[1].values.iter().all(Option::is_none));
            }
        }
    }

    #[test]
    fn an_empty_track_takes_next_to_nothing_and_grows_a_little_at_a_time() {
        let mut track = Track::new(METRICS);
        assert_eq!(track.bytes(), 0);
        assert_eq!(track.newest(), None);
        track.record(1_000_000, &[Some(1.0), None]);
        assert_eq!(track.bytes(), GROWTH * METRICS.len() * size_of::<f32>());
        assert_eq!(track.newest(), Some(1_000_000 / 15 * 15));
    }

    #[test]
    fn what_was_before_is_left_out() {
        let mut track = Track::new(METRICS);
        let begin = 3_000_000;
        for n in 0..8 {
            track.record(begin + 15 * n, &[Some(1.0), None]);
        }
        let now = begin + 15 * 7;
        let known = |since| {
            let series = track.series(UsageRange::Hour, now, since);
            series[0].values.iter().flatten().count()
        };
        assert_eq!((known(0), known(begin + 45), known(now + 15)), (8, 5, 0));
        assert_eq!(begins(UsageRange::Hour, now), now - 15 * 239);
    }
}
