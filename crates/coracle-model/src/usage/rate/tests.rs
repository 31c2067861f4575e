use super::*;
use crate::route::wait_part;
use proptest::prelude::*;

const fn total(seconds: u64, amount: u64) -> Total {
    Total {
        at: Duration::from_secs(seconds),
        amount,
    }
}

fn cpu(total: Total) -> Reading {
    Reading {
        cpu: Some(Processor::Time(total)),
        ..Reading::default()
    }
}

#[test]
fn a_rate_goes_by_the_clock_of_whoever_measured() {
    let mut meter = Meter::default();
    assert_eq!(meter.read(&cpu(total(100, 5_000_000_000))).cpu, None);
    assert_eq!(meter.read(&cpu(total(110, 10_000_000_000))).cpu, Some(0.5));
    // Not measured again: as before, but not for ever.
    for _ in 0..HELD {
        assert_eq!(meter.read(&cpu(total(110, 10_000_000_000))).cpu, Some(0.5));
    }
    assert_eq!(meter.read(&cpu(total(110, 10_000_000_000))).cpu, None);
    // It began anew.
    assert_eq!(meter.read(&cpu(total(120, 1))).cpu, None);
    assert_eq!(meter.read(&cpu(total(130, 20_000_000_001))).cpu, Some(2.0));
    assert_eq!(meter.read(&Reading::default()), Rates::default());
    assert_eq!(meter.read(&cpu(total(150, 30_000_000_001))).cpu, None);
}

fn counters(
    at: u64,
    answers: [u64; 5],
    wait_micros: u64,
    waits: Vec<u64>,
) -> BTreeMap<String, GatewayCounters> {
    let traffic = AppTraffic {
        answers,
        wait_micros,
        waits,
        ..AppTraffic::default()
    };
    let counters = GatewayCounters {
        at: Duration::from_secs(at),
        apps: BTreeMap::from([("default/web".to_owned(), traffic)]),
    };
    BTreeMap::from([("g".to_owned(), counters)])
}

fn one(rates: &BTreeMap<String, AppRates>) -> AppRates {
    rates["default/web"]
}

#[test]
fn counters_become_rates() {
    let mut meter = TrafficMeter::default();
    assert!(
        meter
            .read(counters(0, [0, 9, 0, 0, 1], 0, Vec::new()))
            .is_empty()
    );
    let rates = meter.read(counters(20, [0, 49, 0, 0, 11], 100_000, Vec::new()));
    let expected = AppRates {
        requests: 2.5,
        errors: 0.5,
        latency: Some(2.0),
    };
    assert_eq!(one(&rates), expected);
    // No report since: nothing happened.
    let rates = meter.read(counters(20, [0, 49, 0, 0, 11], 100_000, Vec::new()));
    assert_eq!(one(&rates), AppRates::default());
    // The gateway began anew, and what it counted is of the time since.
    let rates = meter.read(counters(40, [0, 20, 0, 0, 0], 0, Vec::new()));
    assert_eq!(one(&rates).requests, 1.0);
    // What comes after a long silence is of the time just before it was told.
    let rates = meter.read(counters(4000, [0, 45, 0, 0, 0], 0, Vec::new()));
    assert_eq!(one(&rates).requests, 1.0);
}

#[test]
fn a_later_gateway_with_more_parts_is_understood() {
    let mut meter = TrafficMeter::default();
    drop(meter.read(counters(0, [0; 5], 0, vec![0; 99])));
    let mut waits = vec![0; 99];
    waits[0] = 4;
    waits[98] = 4;
    let rates = meter.read(counters(15, [0, 8, 0, 0, 0], 0, waits));
    assert!(one(&rates).latency.unwrap() <= 0.25);
}

proptest! {
    /// The median of times that were counted in parts is near to the true one.
    #[test]
    fn a_median_is_near_the_true_one(mut micros in prop::collection::vec(1..10_000_000_u64, 1..300)) {
        let mut waits = Vec::new();
        for wait in &micros {
            let part = wait_part(*wait);
            waits.resize(waits.len().max(part + 1), 0);
            waits[part] += 1;
        }
        let told = median(&waits).unwrap() * 1e3;
        micros.sort_unstable();
        let (low, high) = (micros[(micros.len() - 1) / 2], micros[micros.len() / 2]);
        let bounds: Vec<u64> = std::iter::once(0).chain(wait_bounds()).collect();
        let below = bounds[wait_part(low)];
        let above = bounds.get(wait_part(high) + 1).copied().unwrap_or(u64::MAX);
        prop_assert!(whole(below) <= told && told <= whole(above), "{told} of {low} to {high}");
    }

    /// Over any time, the requests that are told are those that were counted, where reports come as they do.
    #[test]
    fn no_request_is_told_twice_or_lost(counts in prop::collection::vec(0..1000_u64, 1..50)) {
        let mut meter = TrafficMeter::default();
        let (mut at, mut all) = (0, 0);
        drop(meter.read(counters(at, [0; 5], 0, Vec::new())));
        let mut told = 0.0;
        for count in counts {
            at += 15;
            all += count;
            let rates = meter.read(counters(at, [0, all, 0, 0, 0], 0, Vec::new()));
            told += f64::from(one(&rates).requests) * 15.0;
        }
        prop_assert!((told - whole(all)).abs() <= 1e-3 * whole(all) + 1e-3);
    }
}
