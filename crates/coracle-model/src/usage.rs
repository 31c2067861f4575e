//! What pods, apps, nodes and the platform use, over time.
//!
//! Theory of operation: an engine gives readings ([`Reading`]), gateways give counters; [`rate`] turns what only grows into
//! rates, and a [`track::Track`] keeps what came of it: every sample for an hour, means of five minutes for a day. Nothing
//! here asks for the time or waits: whoever samples says when it was. What is not known is absent, and never zero.

pub mod rate;
pub mod track;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::name::{AppName, PodName, ProjectName};

/// Seconds between two samples.
pub const STEP_SECONDS: u32 = 15;

/// Seconds that one value of the longer ranges stands for.
pub const COARSE_STEP_SECONDS: u32 = 300;

/// How much time is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum UsageRange {
    /// The last hour, a value for every 15 s.
    #[default]
    #[serde(rename = "1h")]
    Hour,
    /// The last six hours, a value for every five minutes.
    #[serde(rename = "6h")]
    SixHours,
    /// The last day, a value for every five minutes.
    #[serde(rename = "24h")]
    Day,
}

impl UsageRange {
    /// Seconds that one value stands for.
    #[must_use]
    pub const fn step_seconds(self) -> u32 {
        match self {
            Self::Hour => STEP_SECONDS,
            Self::SixHours | Self::Day => COARSE_STEP_SECONDS,
        }
    }

    /// How many values there are.
    #[must_use]
    pub const fn values(self) -> usize {
        match self {
            Self::Hour => 240,
            Self::SixHours => 72,
            Self::Day => 288,
        }
    }

    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::SixHours => "6h",
            Self::Day => "24h",
        }
    }
}

/// What is measured.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Processors in use.
    Cpu,
    /// Memory in use without page cache.
    Memory,
    /// Bytes received.
    NetworkIn,
    /// Bytes sent.
    NetworkOut,
    /// Requests that gateways answered.
    Requests,
    /// Those of them that were answered with a status of 500 or more.
    Errors,
    /// The median time to the first byte of an answer. Of gateways of former versions: the mean.
    Latency,
    /// Disk in use.
    Disk,
    /// Pods that run.
    Pods,
}

impl Metric {
    /// What its values count.
    #[must_use]
    pub const fn unit(self) -> Unit {
        match self {
            Self::Cpu => Unit::Cores,
            Self::Memory | Self::Disk => Unit::Bytes,
            Self::NetworkIn | Self::NetworkOut => Unit::BytesPerSecond,
            Self::Requests | Self::Errors => Unit::RequestsPerSecond,
            Self::Latency => Unit::Milliseconds,
            Self::Pods => Unit::Count,
        }
    }
}

/// What values count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum Unit {
    /// Processors.
    #[serde(rename = "cores")]
    Cores,
    /// Bytes.
    #[serde(rename = "bytes")]
    Bytes,
    /// Bytes in a second.
    #[serde(rename = "bytes/s")]
    BytesPerSecond,
    /// Requests in a second.
    #[serde(rename = "requests/s")]
    RequestsPerSecond,
    /// Thousandths of a second.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Things.
    #[serde(rename = "count")]
    Count,
}

/// What something used over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Usage {
    /// When the time begins that the first value of each series stands for.
    pub from: DateTime<Utc>,
    /// Seconds that each value stands for.
    pub step_seconds: u32,
    /// What was measured. All have as many values.
    pub series: Vec<UsageSeries>,
}

/// One thing that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UsageSeries {
    /// What.
    pub name: Metric,
    /// What the values count.
    pub unit: Unit,
    /// What there is of it now, in the same unit; null where there is no limit, or it is not known.
    pub limit: Option<f64>,
    /// The oldest first; null where nothing is known.
    pub values: Vec<Option<f32>>,
}

/// What everything uses at one moment, as far as whoever looks may see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UsageSample {
    /// When.
    pub at: DateTime<Utc>,
    /// Pods that run.
    pub pods: Vec<PodSample>,
    /// Apps that have pods, or a route.
    pub apps: Vec<AppSample>,
    /// Nodes.
    pub nodes: Vec<NodeSample>,
}

/// What a pod uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PodSample {
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub name: PodName,
    /// The app that it belongs to.
    pub app: Option<AppName>,
    /// Processors in use.
    pub cpu: Option<f32>,
    /// Bytes of memory in use without page cache.
    pub memory: Option<u64>,
    /// The most bytes of memory.
    pub memory_limit: Option<u64>,
    /// Bytes received in a second.
    pub network_in: Option<f32>,
    /// Bytes sent in a second.
    pub network_out: Option<f32>,
}

/// What an app uses: the sum of its pods, and what its users ask of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AppSample {
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub name: AppName,
    /// Requests in a second.
    pub requests: Option<f32>,
    /// Those of them, in a second, that were answered with a status of 500 or more.
    pub errors: Option<f32>,
    /// Milliseconds to the first byte of half of the answers.
    pub latency: Option<f32>,
    /// Processors in use.
    pub cpu: Option<f32>,
    /// Bytes of memory in use without page cache.
    pub memory: Option<u64>,
    /// The most bytes of memory of all its pods; null when one has no limit.
    pub memory_limit: Option<u64>,
    /// Bytes received in a second.
    pub network_in: Option<f32>,
    /// Bytes sent in a second.
    pub network_out: Option<f32>,
    /// Pods that run.
    pub pods: u32,
}

/// What a node uses, all that runs on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeSample {
    /// Its name.
    pub name: String,
    /// Processors in use.
    pub cpu: Option<f32>,
    /// Processors that it has.
    pub cpu_limit: Option<f64>,
    /// Bytes of memory in use.
    pub memory: Option<u64>,
    /// Bytes of memory that it has.
    pub memory_limit: Option<u64>,
    /// Bytes received in a second.
    pub network_in: Option<f32>,
    /// Bytes sent in a second.
    pub network_out: Option<f32>,
    /// Bytes of disk in use.
    pub disk: Option<u64>,
    /// Bytes of disk that it has.
    pub disk_limit: Option<u64>,
    /// The platform's pods that run on it.
    pub pods: u32,
}

/// What an engine read of a pod or a node.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Processors.
    pub cpu: Option<Processor>,
    /// Bytes of memory in use without page cache.
    pub memory_bytes: Option<u64>,
    /// The most that it may use; of a node, what it has.
    pub memory_limit_bytes: Option<u64>,
    /// Bytes received.
    pub network_in: Option<Total>,
    /// Bytes sent.
    pub network_out: Option<Total>,
    /// Bytes of disk in use. Nodes only.
    pub disk_bytes: Option<u64>,
}

/// How the use of processors was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Processor {
    /// All processor time so far, in nanoseconds.
    Time(Total),
    /// Processors in use, as whoever measured has averaged it.
    Cores(f64),
}

/// An amount that only grows, for as long as what is measured runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// When it was measured, by any clock that never goes back and is the same for all readings of one thing.
    pub at: Duration,
    /// The amount.
    pub amount: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_written_as_it_is_read() {
        for range in [UsageRange::Hour, UsageRange::SixHours, UsageRange::Day] {
            assert_eq!(serde_json::to_value(range).unwrap(), range.word());
            let seconds = range.values() * usize::try_from(range.step_seconds()).unwrap();
            let hours: usize = range.word().trim_end_matches('h').parse().unwrap();
            assert_eq!(seconds, hours * 3600);
        }
    }

    #[test]
    fn what_is_not_known_is_null() {
        let series = UsageSeries {
            name: Metric::NetworkIn,
            unit: Metric::NetworkIn.unit(),
            limit: None,
            values: vec![None, Some(0.1)],
        };
        let json = r#"{"name":"network_in","unit":"bytes/s","limit":null,"values":[null,0.1]}"#;
        assert_eq!(serde_json::to_string(&series).unwrap(), json);
    }
}
