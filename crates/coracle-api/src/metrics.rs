//! Metrics in Prometheus' text format, version 0.0.4.
//!
//! Everything is read at the moment it is asked for: nothing is gathered while nobody looks.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use coracle_control::keys;
use coracle_model::app::AppSpec;
use coracle_model::pod::PodStatus;
use coracle_model::problem::Problem;
use futures::StreamExt as _;

use crate::error::ApiResult;
use crate::state::ApiState;

/// Pods whose use is asked for at the same time.
const STATS_AT_ONCE: usize = 8;

/// Gathers samples of one scrape.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _infallible = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let begin = if i == 0 { '{' } else { ',' };
            let escaped = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _infallible = write!(self.0, "{begin}{label}=\"{escaped}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _infallible = writeln!(self.0, " {value}");
    }
}

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "platform", responses(
    (status = 200, description = "text/plain; version=0.0.4"), (status = "default", body = Problem)))]
pub(crate) async fn read(State(state): State<ApiState>) -> ApiResult<impl IntoResponse> {
    let mut text = Text::default();
    platform(&state, &mut text).await?;
    pods(&state, &mut text).await;
    traffic(&state, &mut text);
    Ok((
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text.0,
    ))
}

async fn platform(state: &ApiState, text: &mut Text) -> ApiResult<()> {
    let control = &state.control;
    text.family("coracle_info", "gauge", "The platform's version.");
    text.sample("coracle_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.family("coracle_store_revision", "counter", "Writes to the store.");
    let revision = control
        .objects
        .store()
        .revision()
        .await
        .map_err(coracle_control::OperationError::from)?;
    text.sample("coracle_store_revision", &[], revision);
    text.family("coracle_apps", "gauge", "Apps by phase.");
    let mut phases = std::collections::BTreeMap::<String, u32>::new();
    for app in control.objects.list::<AppSpec>(keys::APPS).await? {
        *phases
            .entry(format!("{:?}", app.status.phase).to_lowercase())
            .or_default() += 1;
    }
    for (phase, apps) in phases {
        text.sample("coracle_apps", &[("phase", &phase)], apps);
    }
    text.family("coracle_node_ready", "gauge", "Can the node run pods?");
    for node in control.observed.nodes() {
        text.sample(
            "coracle_node_ready",
            &[("node", &node.metadata.name)],
            u8::from(node.status.ready),
        );
    }
    Ok(())
}

async fn pods(state: &ApiState, text: &mut Text) {
    let running = state.control.observed.pods();
    let with_process: Vec<_> = running
        .iter()
        .filter(|pod| pod.status.phase.can_exec())
        .cloned()
        .collect();
    let asked = with_process.into_iter().map(|pod| {
        let engine = std::sync::Arc::clone(&state.control.engine);
        async move {
            let stats = engine.stats(&pod.id).await;
            (pod, stats)
        }
    });
    let stats: Vec<_> = futures::stream::iter(asked)
        .buffer_unordered(STATS_AT_ONCE)
        .collect()
        .await;
    let labels = |pod: &coracle_model::workload::ObservedPod| {
        [
            ("project", pod.id.project.to_string()),
            (
                "app",
                pod.owner
                    .app
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            ),
            ("pod", pod.id.name.to_string()),
        ]
    };
    let mut family = |name: &str,
                      kind: &str,
                      help: &str,
                      value: &dyn Fn(&coracle_model::pod::PodStats) -> f64| {
        text.family(name, kind, help);
        for (pod, stats) in &stats {
            if let Ok(stats) = stats {
                let labels = labels(pod);
                let labels: Vec<(&str, &str)> = labels
                    .iter()
                    .map(|(label, text)| (*label, text.as_str()))
                    .collect();
                text.sample(name, &labels, value(stats));
            }
        }
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "Prometheus' samples are 64-bit floats"
    )]
    {
        family(
            "coracle_pod_cpu_seconds_total",
            "counter",
            "Processor time used.",
            &|s| s.cpu_nanos as f64 / 1e9,
        );
        family(
            "coracle_pod_memory_bytes",
            "gauge",
            "Memory in use without page cache.",
            &|s| s.memory_bytes as f64,
        );
        family(
            "coracle_pod_network_receive_bytes_total",
            "counter",
            "Bytes received.",
            &|s| s.network_rx_bytes as f64,
        );
        family(
            "coracle_pod_network_transmit_bytes_total",
            "counter",
            "Bytes sent.",
            &|s| s.network_tx_bytes as f64,
        );
    }
    // All samples of a family stand together.
    let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(&PodStatus) -> u32| {
        text.family(name, kind, help);
        for pod in &running {
            let labels = labels(pod);
            let labels: Vec<(&str, &str)> = labels
                .iter()
                .map(|(label, text)| (*label, text.as_str()))
                .collect();
            text.sample(name, &labels, value(&pod.status));
        }
    };
    family(
        "coracle_pod_restarts_total",
        "counter",
        "How often the pod was started again.",
        &|status| status.restarts,
    );
    family(
        "coracle_pod_ready",
        "gauge",
        "Can requests be sent to the pod?",
        &|status| u32::from(status.phase.can_serve()),
    );
}

fn traffic(state: &ApiState, text: &mut Text) {
    text.family(
        "coracle_requests_total",
        "counter",
        "Requests answered by gateways, by class of status.",
    );
    for (gateway, seen) in state.control.feed.gateways() {
        for (app, traffic) in &seen.report.apps {
            let (project, app) = app.split_once('/').unwrap_or(("", app));
            for (class, count) in traffic.answers.iter().enumerate() {
                let class = format!("{}xx", class + 1);
                let labels = [
                    ("gateway", gateway.as_str()),
                    ("project", project),
                    ("app", app),
                    ("status", &class),
                ];
                text.sample("coracle_requests_total", &labels, count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.sample("x", &[("a", "q\"\\\n")], 1);
        assert_eq!(text.0, "x{a=\"q\\\"\\\\\\n\"} 1\n");
    }
}
