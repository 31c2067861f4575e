//! From what was read to a sample, and into what is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use coracle_engine::EngineUsage;
use coracle_model::name::{AppName, ProjectName};
use coracle_model::node::Node;
use coracle_model::usage::rate::{AppRates, Rates};
use coracle_model::usage::track::Track;
use coracle_model::usage::{AppSample, Metric, NodeSample, PodSample, Reading, UsageSample};
use coracle_model::workload::{ObservedPod, PodId};

use super::{
    AppKey, FORGOTTEN_AFTER, Kept, MOST_OTHERS, MOST_PODS, OF_APP, OF_NODE, OF_PLATFORM, OF_POD,
    Seen, seconds, short, total,
};

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
    pub(super) fn take(
        &mut self,
        at: DateTime<Utc>,
        read: &EngineUsage,
        seen: Seen,
    ) -> UsageSample {
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
