//! Logs of pods and apps.

use chrono::{DateTime, Utc};
use coracle_model::name::{AppName, PodName, ProcessName, ProjectName};
use futures::StreamExt as _;
use http::Method;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::lines::Lines;
use crate::{Items, Result};
use crate::{app, pod};

/// The most bytes of one line with what is told about it.
const LINE_BYTES: usize = 4 << 20;

/// Which lines.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LogQuery {
    /// Wait for more.
    pub follow: bool,
    /// The last so many lines of each pod; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
    /// From this moment on (RFC 3339), or the last so long, such as `5m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Of this process only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
    /// Of this pod only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodName>,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The pod that wrote it.
    pub pod: PodName,
    /// The process of the app that the pod is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
    /// When.
    pub at: DateTime<Utc>,
    /// Where to.
    pub channel: LogChannel,
    /// Without its end. It is the app's: escape it before it reaches a terminal.
    pub text: String,
}

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogChannel {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Client {
    /// The logs of an app's pods. The stream ends with them, or never when they are followed.
    ///
    /// # Errors
    /// [`crate::ClientError`], also as an item of the stream, which then ends.
    pub async fn app_logs(
        &self,
        project: &ProjectName,
        app: &AppName,
        query: &LogQuery,
    ) -> Result<Items<LogLine>> {
        self.log_lines(&format!("{}/logs", app::path(project, app)), query)
            .await
    }

    /// A pod's log.
    ///
    /// # Errors
    /// [`crate::ClientError`], also as an item of the stream, which then ends.
    pub async fn pod_log(
        &self,
        project: &ProjectName,
        pod: &PodName,
        query: &LogQuery,
    ) -> Result<Items<LogLine>> {
        self.log_lines(&format!("{}/log", pod::path(project, pod)), query)
            .await
    }

    async fn log_lines(&self, path: &str, query: &LogQuery) -> Result<Items<LogLine>> {
        let response = self
            .open(self.request(Method::GET, path).query(query))
            .await?;
        let client = self.clone();
        let lines = Lines::new(self.clone(), response, LINE_BYTES);
        let parse = move |line: Result<bytes::Bytes>| {
            serde_json::from_slice(&line?).map_err(|error| client.protocol(error))
        };
        // An empty line is a heartbeat.
        let full = |line: &Result<bytes::Bytes>| !matches!(line, Ok(line) if line.is_empty());
        Ok(lines
            .filter(move |line| std::future::ready(full(line)))
            .map(parse)
            .boxed())
    }
}
