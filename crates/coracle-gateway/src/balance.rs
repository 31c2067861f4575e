//! Choosing a pod.
//!
//! Theory of operation: of two pods taken at random the one with fewer requests in flight gets the request
//! (power of two choices). It spreads nearly as well as looking at all pods, costs the same for 2 pods and for 200,
//! and does not send a herd to the one pod that looks idle. Random choice is an input, so that tests decide it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::endpoint::Endpoint;

/// Chooses among `pods`, leaving out `tried` ones, and passed-over ones while there is another.
/// `random(n)` returns a number below n. `None` when every pod was tried.
pub(crate) fn choose<'a>(
    pods: &'a [Arc<Endpoint>],
    tried: &[SocketAddr],
    random: impl FnMut(usize) -> usize,
) -> Option<&'a Arc<Endpoint>> {
    if tried.is_empty() && !pods.iter().any(|p| p.ejection.holds()) {
        return lighter(pods.len(), |i| &pods[i], random);
    }
    let untried: Vec<&'a Arc<Endpoint>> =
        pods.iter().filter(|p| !tried.contains(&p.addr)).collect();
    let willing: Vec<&'a Arc<Endpoint>> = untried
        .iter()
        .copied()
        .filter(|p| !p.ejection.holds())
        .collect();
    let from = if willing.is_empty() { untried } else { willing };
    lighter(from.len(), |i| from[i], random)
}

/// Of two of `count` pods taken at random, the one with less in flight.
fn lighter<'a>(
    count: usize,
    pod: impl Fn(usize) -> &'a Arc<Endpoint>,
    mut random: impl FnMut(usize) -> usize,
) -> Option<&'a Arc<Endpoint>> {
    match count {
        0 => None,
        1 => Some(pod(0)),
        _ => {
            let first = random(count);
            // Distinct from the first: one of the others, counted from behind it.
            let second = (first + 1 + random(count - 1)) % count;
            let (a, b) = (pod(first), pod(second));
            Some(if b.load() < a.load() { b } else { a })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::InFlight;
    use crate::signals::Signals;
    use std::time::Instant;

    fn pods(n: u8) -> Vec<Arc<Endpoint>> {
        let signals = Arc::new(Signals::default());
        (1..=n)
            .map(|i| {
                let addr = SocketAddr::from(([10, 0, 0, i], 80));
                Arc::new(Endpoint::new(addr, Arc::clone(&signals)))
            })
            .collect()
    }

    #[test]
    fn the_less_loaded_of_two_wins() {
        let pods = pods(2);
        let _busy = InFlight::begin(&pods[0]);
        for start in 0..2 {
            let got = choose(&pods, &[], |n| start % n).unwrap();
            assert_eq!(got.addr, pods[1].addr);
        }
    }

    #[test]
    fn load_spreads() {
        let pods = pods(5);
        let held: Vec<_> = (0..500)
            .map(|_| InFlight::begin(choose(&pods, &[], |n| fastrand::usize(..n)).unwrap()))
            .collect();
        for pod in &pods {
            assert!(
                (80..=120).contains(&pod.load()),
                "{} has {}",
                pod.addr,
                pod.load()
            );
        }
        drop(held);
        assert!(pods.iter().all(|p| p.load() == 0));
    }

    #[test]
    fn refusing_pods_are_passed_over_but_never_the_last() {
        let pods = pods(3);
        pods[0].ejection.refused(Instant::now());
        for _ in 0..50 {
            let got = choose(&pods, &[], |n| fastrand::usize(..n)).unwrap();
            assert_ne!(got.addr, pods[0].addr);
        }
        pods[1].ejection.refused(Instant::now());
        pods[2].ejection.refused(Instant::now());
        assert!(
            choose(&pods, &[], |_| 0).is_some(),
            "all passed over: all are asked"
        );
        let tried = [pods[1].addr, pods[2].addr];
        assert_eq!(choose(&pods, &tried, |_| 0).unwrap().addr, pods[0].addr);
        let all = [pods[0].addr, pods[1].addr, pods[2].addr];
        assert!(choose(&pods, &all, |_| 0).is_none());
    }
}
