//! What was used, kept in memory.
//!
//! Theory of operation: the sampler ([`controllers::usage`](crate::controllers::usage)) hands in what the engine read and
//! the gateways counted. Here it becomes rates, is summed up by app and for the whole platform, and is remembered: an hour of
//! samples and a day of means for each pod, app and node. Nothing of it is written anywhere: it is lost with the process,
//! and another control plane has none of it. What is kept is bounded for each thing and in the number of things, grows only
//! as it is used, and goes with what it is of: a pod's with the pod, an app's or a node's a day after it was last heard of.

mod fold;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use coracle_engine::EngineUsage;
use coracle_model::name::{AppName, ProjectName};
use coracle_model::node::Node;
use coracle_model::usage::rate::{GatewayCounters, Meter, TrafficMeter};
use coracle_model::usage::track::{Track, begins};
use coracle_model::usage::{Metric, NodeSample, Usage, UsageRange, UsageSample, UsageSeries};
use coracle_model::workload::{ObservedPod, PodId};
use tokio::sync::watch;

/// The most pods whose past is kept. Of more, only the present is known.
const MOST_PODS: usize = 2000;
/// The most apps, and the most nodes, whose past is kept.
const MOST_OTHERS: usize = 1000;
/// An app or node that was not heard of for so many seconds has no past that is shown.
const FORGOTTEN_AFTER: u64 = 24 * 3600;

const OF_POD: &[Metric] = &[
    Metric::Cpu,
    Metric::Memory,
    Metric::NetworkIn,
    Metric::NetworkOut,
];
const OF_APP: &[Metric] = &[
    Metric::Cpu,
    Metric::Memory,
    Metric::NetworkIn,
    Metric::NetworkOut,
    Metric::Requests,
    Metric::Errors,
    Metric::Latency,
    Metric::Pods,
];
const OF_NODE: &[Metric] = &[
    Metric::Cpu,
    Metric::Memory,
    Metric::NetworkIn,
    Metric::NetworkOut,
    Metric::Disk,
    Metric::Pods,
];
const OF_PLATFORM: &[Metric] = &[
    Metric::Cpu,
    Metric::Memory,
    Metric::NetworkIn,
    Metric::NetworkOut,
    Metric::Disk,
    Metric::Requests,
    Metric::Errors,
    Metric::Pods,
];

/// What everything uses, once there is a sample.
pub type LatestSample = Option<Arc<UsageSample>>;

type AppKey = (ProjectName, AppName);

/// What was used. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct UsageHistory {
    kept: Arc<Mutex<Kept>>,
    latest: Arc<watch::Sender<LatestSample>>,
}

/// What of the past is asked for, and from where on.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// How much.
    pub range: UsageRange,
    /// Until now.
    pub now: DateTime<Utc>,
    /// What it is of was made then: before, another one had its name.
    pub since: Option<DateTime<Utc>>,
}

/// What is seen beside the readings, at the same time.
#[derive(Debug)]
pub struct Seen {
    /// Pods as the engine reports them.
    pub pods: Vec<Arc<ObservedPod>>,
    /// Nodes as the engine reports them.
    pub nodes: Vec<Arc<Node>>,
    /// What gateways counted.
    pub gateways: BTreeMap<String, GatewayCounters>,
}

#[derive(Debug, Default)]
struct Kept {
    pods: BTreeMap<PodId, (Meter, Option<Track>)>,
    apps: BTreeMap<AppKey, Track>,
    nodes: BTreeMap<String, (Meter, Option<Track>)>,
    platform: Option<Track>,
    traffic: TrafficMeter,
}

impl UsageHistory {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a sample.
    pub fn take(&self, at: DateTime<Utc>, read: &EngineUsage, seen: Seen) {
        let sample = self.kept().take(at, read, seen);
        self.latest.send_replace(Some(Arc::new(sample)));
    }

    /// Nothing runs: there is no present, and what runs next begins anew.
    pub fn rest(&self) {
        {
            let mut kept = self.kept();
            kept.pods.clear();
            kept.traffic.clear();
        }
        self.latest
            .send_if_modified(|latest| latest.take().is_some());
    }

    /// The newest sample, and each that comes.
    #[must_use]
    pub fn samples(&self) -> watch::Receiver<LatestSample> {
        self.latest.subscribe()
    }

    /// What a pod used.
    #[must_use]
    pub fn of_pod(&self, id: &PodId, past: Past) -> Usage {
        let kept = self.kept();
        let track = kept.pods.get(id).and_then(|(_, track)| track.as_ref());
        let mut usage = shown(OF_POD, track, past);
        drop(kept);
        let of = |sample: &UsageSample| {
            let mut pods = sample.pods.iter();
            let pod = pods.find(|pod| pod.project == id.project && pod.name == id.name)?;
            Some(vec![(Metric::Memory, pod.memory_limit.map(whole)?)])
        };
        self.limit(&mut usage, of);
        usage
    }

    /// What an app used.
    #[must_use]
    pub fn of_app(&self, project: &ProjectName, app: &AppName, past: Past) -> Usage {
        let kept = self.kept();
        let track = kept.apps.get(&(project.clone(), app.clone()));
        let mut usage = shown(OF_APP, track, past);
        drop(kept);
        let of = |sample: &UsageSample| {
            let mut apps = sample.apps.iter();
            let app = apps.find(|one| one.project == *project && one.name == *app)?;
            Some(vec![(Metric::Memory, app.memory_limit.map(whole)?)])
        };
        self.limit(&mut usage, of);
        usage
    }

    /// What a node used.
    #[must_use]
    pub fn of_node(&self, name: &str, past: Past) -> Usage {
        let kept = self.kept();
        let track = kept.nodes.get(name).and_then(|(_, track)| track.as_ref());
        let mut usage = shown(OF_NODE, track, past);
        drop(kept);
        let of = |sample: &UsageSample| {
            let node = sample.nodes.iter().find(|node| node.name == name)?;
            Some(limits(std::slice::from_ref(node)))
        };
        self.limit(&mut usage, of);
        usage
    }

    /// What all nodes, pods and apps used together.
    #[must_use]
    pub fn of_platform(&self, past: Past) -> Usage {
        let kept = self.kept();
        let mut usage = shown(OF_PLATFORM, kept.platform.as_ref(), past);
        drop(kept);
        self.limit(&mut usage, |sample| Some(limits(&sample.nodes)));
        usage
    }

    fn limit(
        &self,
        usage: &mut Usage,
        of: impl FnOnce(&UsageSample) -> Option<Vec<(Metric, f64)>>,
    ) {
        let latest = self.latest.borrow().clone();
        for (metric, limit) in latest.and_then(|sample| of(&sample)).unwrap_or_default() {
            let mut series = usage.series.iter_mut();
            if let Some(series) = series.find(|series| series.name == metric) {
                series.limit = Some(limit);
            }
        }
    }
}

/// What there is of each thing, on all of these nodes.
fn limits(nodes: &[NodeSample]) -> Vec<(Metric, f64)> {
    let all = [
        (Metric::Cpu, total(nodes, |node| node.cpu_limit)),
        (
            Metric::Memory,
            total(nodes, |node| node.memory_limit.map(whole)),
        ),
        (
            Metric::Disk,
            total(nodes, |node| node.disk_limit.map(whole)),
        ),
    ];
    let known = all
        .into_iter()
        .filter_map(|(metric, limit)| Some((metric, limit?)));
    known.collect()
}

fn seconds(at: DateTime<Utc>) -> u64 {
    u64::try_from(at.timestamp()).unwrap_or(0)
}

fn shown(metrics: &'static [Metric], track: Option<&Track>, past: Past) -> Usage {
    let now = seconds(past.now);
    let from = begins(past.range, now);
    let since = past.since.map_or(0, seconds);
    let series: Vec<UsageSeries> = match track {
        Some(track) => track.series(past.range, now, since),
        None => Track::new(metrics).series(past.range, now, since),
    };
    Usage {
        from: i64::try_from(from)
            .ok()
            .and_then(|from| DateTime::from_timestamp(from, 0))
            .unwrap_or_default(),
        step_seconds: past.range.step_seconds(),
        series,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bytes are shown to people: far below 2^52"
)]
const fn whole(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bytes are kept with seven digits, which is more than people read"
)]
const fn short(bytes: u64) -> f32 {
    bytes as f32
}

/// The sum of what is known; none when nothing is.
fn total<T, N: Copy + std::iter::Sum>(of: &[T], what: impl Fn(&T) -> Option<N>) -> Option<N> {
    let known: Vec<N> = of.iter().filter_map(what).collect();
    (!known.is_empty()).then(|| known.into_iter().sum())
}

#[cfg(test)]
mod tests;
