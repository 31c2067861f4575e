//! What was used, kept in memory.
//!
//! Theory of operation: the sampler ([`controllers::usage`](crate::controllers::usage)) hands in what the engine read and
//! the gateways counted. Here it becomes rates, is summed up by app and for the whole platform, and is remembered: an hour of
//! samples and a day of means for each pod, app and node. Nothing of it is written anywhere: it is lost with the process,
//! and another control plane has none of it. What is kept is bounded for each thing and in the number of things, grows only
//! as it is used, and goes with what it is of: a pod's with the pod, an app's or a node's a day after it was last heard of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use coracle_engine::EngineUsage;
use coracle_model::name::{AppName, ProjectName};
use coracle_model::node::Node;
use coracle_model::usage::rate::{AppRates, GatewayCounters, Meter, Rates, TrafficMeter};
use coracle_model::usage::track::{Track, begins};
use coracle_model::usage::{
    AppSample, Metric, NodeSample, PodSample, Reading, Usage, UsageRange, UsageSample, UsageSeries,
};
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

/// What is kept of one thing: its meter always, its past while there is room.
fn record(
    track: &mut Option<Track>,
    metrics: &'static [Metric],
    room: bool,
    at: u64,
    values: &[Option<f32>],
) {
    if track.is_none() && room {
        *track = Some(Track::new(metrics));
    }
    if let Some(track) = track {
        track.record(at, values);
    }
}

impl Kept {
    fn take(&mut self, at: DateTime<Utc>, read: &EngineUsage, seen: Seen) -> UsageSample {
        let now = seconds(at);
        let by_id: BTreeMap<&PodId, &ObservedPod> = seen
            .pods
            .iter()
            .map(|pod| (&pod.id, pod.as_ref()))
            .collect();
        let pods = self.pods(now, read, &by_id);
        let traffic = self.traffic.read(seen.gateways);
        let apps = self.apps(now, &pods, &traffic);
        let nodes = self.nodes(now, read, &seen.nodes, &seen.pods);
        let platform = [
            total(&nodes, |node| node.cpu),
            total(&nodes, |node| node.memory).map(short),
            total(&pods, |pod| pod.network_in),
            total(&pods, |pod| pod.network_out),
            total(&nodes, |node| node.disk).map(short),
            total(&apps, |app| app.requests),
            total(&apps, |app| app.errors),
            Some(short(pods.len() as u64)),
        ];
        record(&mut self.platform, OF_PLATFORM, true, now, &platform);
        UsageSample {
            at,
            pods,
            apps,
            nodes,
        }
    }

    fn pods(
        &mut self,
        now: u64,
        read: &EngineUsage,
        by_id: &BTreeMap<&PodId, &ObservedPod>,
    ) -> Vec<PodSample> {
        self.pods.retain(|id, _| by_id.contains_key(id));
        let mut room = MOST_PODS.saturating_sub(self.pods.len());
        let mut samples = Vec::new();
        for (id, reading) in &read.pods {
            // The engine may know a pod a moment before it has told of it.
            let Some(pod) = by_id.get(id) else { continue };
            let (meter, track) = self.pods.entry(id.clone()).or_default();
            let rates = meter.read(reading);
            let values = values(reading, rates);
            let is_new = track.is_none();
            record(track, OF_POD, room > 0, now, &values);
            room = room.saturating_sub(usize::from(is_new));
            samples.push(PodSample {
                project: id.project.clone(),
                name: id.name.clone(),
                app: pod.owner.app.clone(),
                cpu: rates.cpu,
                memory: reading.memory_bytes,
                memory_limit: reading.memory_limit_bytes,
                network_in: rates.network_in,
                network_out: rates.network_out,
            });
        }
        samples
    }

    fn apps(
        &mut self,
        now: u64,
        pods: &[PodSample],
        traffic: &BTreeMap<String, AppRates>,
    ) -> Vec<AppSample> {
        let mut by_app: BTreeMap<AppKey, (Vec<&PodSample>, Option<AppRates>)> = BTreeMap::new();
        for pod in pods {
            if let Some(app) = &pod.app {
                let key = (pod.project.clone(), app.clone());
                by_app.entry(key).or_default().0.push(pod);
            }
        }
        for (name, rates) in traffic {
            if let Some(key) = app_key(name) {
                by_app.entry(key).or_default().1 = Some(*rates);
            }
        }
        let gone = |track: &Track| {
            track
                .newest()
                .is_none_or(|last| last + FORGOTTEN_AFTER < now)
        };
        self.apps.retain(|_, track| !gone(track));
        let mut samples = Vec::new();
        for ((project, name), (pods, rates)) in by_app {
            let limited = pods.iter().all(|pod| pod.memory_limit.is_some());
            let sample = AppSample {
                requests: rates.map(|rates| rates.requests),
                errors: rates.map(|rates| rates.errors),
                latency: rates.and_then(|rates| rates.latency),
                cpu: total(&pods, |pod| pod.cpu),
                memory: total(&pods, |pod| pod.memory),
                memory_limit: total(&pods, |pod| pod.memory_limit).filter(|_| limited),
                network_in: total(&pods, |pod| pod.network_in),
                network_out: total(&pods, |pod| pod.network_out),
                pods: u32::try_from(pods.len()).unwrap_or(u32::MAX),
                project,
                name,
            };
            let values = [
                sample.cpu,
                sample.memory.map(short),
                sample.network_in,
                sample.network_out,
                sample.requests,
                sample.errors,
                sample.latency,
                Some(short(u64::from(sample.pods))),
            ];
            let key = (sample.project.clone(), sample.name.clone());
            if self.apps.len() < MOST_OTHERS || self.apps.contains_key(&key) {
                let track = self.apps.entry(key).or_insert_with(|| Track::new(OF_APP));
                track.record(now, &values);
            }
            samples.push(sample);
        }
        samples
    }

    fn nodes(
        &mut self,
        now: u64,
        read: &EngineUsage,
        nodes: &[Arc<Node>],
        pods: &[Arc<ObservedPod>],
    ) -> Vec<NodeSample> {
        let mut running: BTreeMap<&str, u32> = BTreeMap::new();
        for pod in pods.iter().filter(|pod| pod.status.phase.can_exec()) {
            if let Some(node) = &pod.status.node {
                *running.entry(node).or_default() += 1;
            }
        }
        let there: BTreeSet<&str> = nodes
            .iter()
            .map(|node| node.metadata.name.as_str())
            .collect();
        let gone = |track: &Option<Track>| {
            let last = track.as_ref().and_then(Track::newest);
            last.is_none_or(|last| last + FORGOTTEN_AFTER < now)
        };
        self.nodes
            .retain(|name, (_, track)| there.contains(name.as_str()) || !gone(track));
        let mut samples = Vec::new();
        for (name, reading) in &read.nodes {
            let Some(node) = nodes.iter().find(|node| node.metadata.name == *name) else {
                continue;
            };
            let room = self.nodes.len() < MOST_OTHERS;
            let (meter, track) = self.nodes.entry(name.clone()).or_default();
            let rates = meter.read(reading);
            let pods = running.get(name.as_str()).copied().unwrap_or(0);
            let [cpu, memory, network_in, network_out] = values(reading, rates);
            let disk = reading.disk_bytes.map(short);
            let pods_value = Some(short(u64::from(pods)));
            let values = [cpu, memory, network_in, network_out, disk, pods_value];
            record(track, OF_NODE, room, now, &values);
            let has = &node.status.capacity;
            samples.push(NodeSample {
                name: name.clone(),
                cpu: rates.cpu,
                cpu_limit: (has.cpu > 0.0).then_some(has.cpu),
                memory: reading.memory_bytes,
                memory_limit: (has.memory_bytes > 0).then_some(has.memory_bytes),
                network_in: rates.network_in,
                network_out: rates.network_out,
                disk: reading.disk_bytes,
                disk_limit: has.disk_bytes,
                pods,
            });
        }
        samples
    }
}

/// In the order of [`OF_POD`], which all others begin with.
fn values(reading: &Reading, rates: Rates) -> [Option<f32>; 4] {
    [
        rates.cpu,
        reading.memory_bytes.map(short),
        rates.network_in,
        rates.network_out,
    ]
}

/// Gateways name an app `project/app`.
fn app_key(name: &str) -> Option<AppKey> {
    let (project, app) = name.split_once('/')?;
    Some((ProjectName::new(project).ok()?, AppName::new(app).ok()?))
}
