//! What the gateway is told, and what it tells back.
//!
//! Theory of operation: the control plane publishes whole tables, never differences, each with a
//! generation that only grows. A gateway applies a table at once, keeps it on disk, and reports which
//! generation it applied and how many requests are still in flight to addresses that the table no longer
//! has. That report is what lets the control plane stop an old pod without cutting a request off.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::name::{AppName, Hostname, ProjectName};

/// Everything a gateway needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Grows with every change of the table; survives restarts of the control plane.
    pub generation: u64,
    /// Where each host goes. A host that is not here is "no such app".
    pub routes: BTreeMap<Hostname, Route>,
}

/// Where one host goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Project of the app.
    pub project: ProjectName,
    /// The app that gets the requests.
    pub app: AppName,
    /// What to do with a request.
    pub target: Target,
}

/// What to do with a request for a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Target {
    /// Send it to one of these pods, each an address and port.
    Pods {
        /// Ready pods. Never empty.
        pods: Vec<SocketAddr>,
    },
    /// The app has no ready pod yet: answer with the "starting" page (503, `Retry-After`).
    Starting,
    /// The app's only release failed: answer with the "failed" page (503).
    Failed {
        /// Why, in the words of the person who asked. May hold any text: escape it.
        reason: String,
    },
    /// The app was scaled to nothing: answer with the "stopped" page (503).
    Stopped,
}

/// What a gateway tells the control plane, after each table it applied and whenever a drain ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GatewayReport {
    /// Generation of the table in force.
    pub generation: u64,
    /// Requests in flight to addresses that are no longer in the table. An address that is not here has none.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub draining: BTreeMap<SocketAddr, u64>,
    /// Counters per `project/app` since the gateway's start.
    pub apps: BTreeMap<String, AppTraffic>,
}

/// Counters of one app at one gateway since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AppTraffic {
    /// Answers by class of status: index 0 is 1xx, 4 is 5xx.
    pub answers: [u64; 5],
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Bytes of answer bodies.
    pub bytes_out: u64,
    /// Sum of the times to the first byte of the answer, in microseconds.
    pub wait_micros: u64,
    /// How many of these times lie below each of [`wait_bounds`] and not below the one before; the last part is beyond all.
    /// Parts at the end without any are left out; a gateway of a former version has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<u64>,
}

/// Parts that times to the first byte are counted in, the last one without a bound.
pub const WAIT_PARTS: usize = 34;

/// The bounds of all parts but the last, in microseconds: a quarter of a millisecond, and each half as much again as the
/// one before or a third, so that two steps double it. The last is 16 s.
pub fn wait_bounds() -> impl Iterator<Item = u64> {
    (0..8 * 2 + 1)
        .flat_map(|octave: u32| {
            let whole = 250 << octave;
            [whole, whole + whole / 2]
        })
        .take(WAIT_PARTS - 1)
}

/// The part that a time in microseconds is counted in.
#[must_use]
pub fn wait_part(micros: u64) -> usize {
    let quarter = micros / 250;
    let Some(octave) = quarter.checked_ilog2() else {
        return 0;
    };
    let whole = 250_u64 << octave;
    let part = 2 * octave + 1 + u32::from(micros - whole >= whole / 2);
    usize::try_from(part).map_or(WAIT_PARTS - 1, |part| part.min(WAIT_PARTS - 1))
}

#[cfg(test)]
mod tests {
    use super::{WAIT_PARTS, wait_bounds, wait_part};

    #[test]
    fn a_time_is_counted_between_the_bounds_of_its_part() {
        let bounds: Vec<u64> = wait_bounds().collect();
        assert!(bounds.is_sorted() && bounds.len() == WAIT_PARTS - 1);
        assert_eq!(bounds.last(), Some(&16_384_000));
        for micros in (0..30_000_000)
            .step_by(97)
            .chain(bounds.clone())
            .chain([u64::MAX])
        {
            let part = bounds.iter().filter(|bound| micros >= **bound).count();
            assert_eq!(wait_part(micros), part, "{micros}");
        }
    }
}
