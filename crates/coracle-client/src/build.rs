//! Builds: upload, log, cancel.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use coracle_builder::{PackProgress, Scan, pack};
use coracle_model::build::Build;
use coracle_model::name::{AppName, ProjectName};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use http::header::CONTENT_TYPE;
use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::app::path;
use crate::client::Client;
use crate::error::ClientError;
use crate::release::MissingApp;
use crate::sse;
use crate::wait::Retry;
use crate::{Items, Result};

/// A line of a build's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildLogLine {
    /// When.
    pub at: DateTime<Utc>,
    /// The step it belongs to, as the builder names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What happened to the step; absent for output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Its text. It comes from the build: escape it before it reaches a terminal.
    pub text: String,
}

impl Client {
    /// The builds of an app, the oldest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn builds(&self, project: &ProjectName, app: &AppName) -> Result<Vec<Build>> {
        self.all(&format!("{}/builds", path(project, app))).await
    }

    /// A build.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn build(&self, project: &ProjectName, app: &AppName, number: u32) -> Result<Build> {
        self.get(&build_path(project, app, number)).await
    }

    /// Ends a build that has not ended.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn cancel_build(
        &self,
        project: &ProjectName,
        app: &AppName,
        number: u32,
    ) -> Result<Build> {
        let path = format!("{}/cancel", build_path(project, app, number));
        self.ordinary(self.request(Method::POST, &path)).await
    }

    /// Packs and uploads the source that `scan` found, and asks for its build. `progress` is called on another thread.
    ///
    /// # Errors
    /// [`ClientError::Source`] when a file could not be read; else what the platform said.
    pub async fn upload(
        &self,
        project: &ProjectName,
        app: &AppName,
        scan: Scan,
        missing: MissingApp,
        progress: impl FnMut(PackProgress) + Send + 'static,
    ) -> Result<Build> {
        let stream = pack(scan, progress);
        self.upload_stream(
            project,
            app,
            stream,
            coracle_builder::pack::CONTENT_TYPE,
            missing,
        )
        .await
    }

    /// Uploads an archive (tar, tar.gz or tar.zst, which `content_type` tells) and asks for its build.
    ///
    /// # Errors
    /// [`ClientError::Source`] when the stream failed; else what the platform said.
    pub async fn upload_stream(
        &self,
        project: &ProjectName,
        app: &AppName,
        archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        content_type: &str,
        missing: MissingApp,
    ) -> Result<Build> {
        let request = self
            .request(Method::POST, &format!("{}/builds", path(project, app)))
            .query(missing.query());
        self.send_archive(request, archive, content_type).await
    }

    /// Sends an archive as the body of a request.
    pub(crate) async fn send_archive<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        content_type: &str,
    ) -> Result<T> {
        // The HTTP library would wrap the stream's error in its own; here it is kept.
        let failure = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&failure);
        let body = archive.map_err(move |error| {
            let kind = error.kind();
            *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            io::Error::from(kind)
        });
        let request = request
            .header(CONTENT_TYPE, content_type)
            .body(reqwest::Body::wrap_stream(body));
        // Without a deadline: an upload takes as long as the line needs.
        let outcome = self.answer(request).await;
        let kept = failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match (outcome, kept) {
            (Err(_), Some(error)) => Err(ClientError::Source(error)),
            (outcome, _) => outcome,
        }
    }

    /// A build's log as text.
    ///
    /// # Errors
    /// [`ClientError`], also as an item of the stream, which then ends.
    pub async fn build_log(
        &self,
        project: &ProjectName,
        app: &AppName,
        number: u32,
    ) -> Result<Items<Bytes>> {
        let path = format!("{}/log", build_path(project, app, number));
        let response = self.open(self.request(Method::GET, &path)).await?;
        let client = self.clone();
        Ok(response
            .bytes_stream()
            .map_err(move |_cut| client.interrupted())
            .boxed())
    }

    /// A build's log, line by line, until the build ends. A lost connection is made again, without telling a line twice.
    pub fn follow_build_log(
        &self,
        project: &ProjectName,
        app: &AppName,
        number: u32,
    ) -> Items<BuildLogLine> {
        let follower = LogFollower {
            client: self.clone(),
            path: format!("{}/log?follow=true", build_path(project, app, number)),
            told: 0,
            events: None,
            retry: Retry::default(),
        };
        stream::unfold(Some(follower), |follower| async {
            let mut follower = follower?;
            match follower.next().await {
                Ok(Some(line)) => Some((Ok(line), Some(follower))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }
}

struct LogFollower {
    client: Client,
    path: String,
    /// Lines that were told: after a new connection the log begins anew.
    told: u64,
    events: Option<Opened>,
    retry: Retry,
}

struct Opened {
    events: Items<sse::SseEvent>,
    seen: u64,
    since: Instant,
}

/// A connection that lasted so long was one: a build may say nothing for a long time, and losing several
/// connections meanwhile is no reason to give up.
const LASTED: Duration = Duration::from_secs(1);

impl LogFollower {
    async fn next(&mut self) -> Result<Option<BuildLogLine>> {
        loop {
            let error = match self.attempt().await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            if let Some(lost) = self.events.take()
                && lost.since.elapsed() > LASTED
            {
                self.retry.succeeded();
            }
            self.retry.pause(error).await?;
        }
    }

    async fn attempt(&mut self) -> Result<Option<BuildLogLine>> {
        let opened = match &mut self.events {
            Some(opened) => opened,
            None => {
                let request = self.client.request(Method::GET, &self.path);
                let response = self.client.open(request).await?;
                self.events.insert(Opened {
                    events: sse::events(&self.client, response).boxed(),
                    seen: 0,
                    since: Instant::now(),
                })
            }
        };
        while let Some(event) = opened.events.next().await {
            let event = event?;
            if event.name == "end" {
                return Ok(None);
            }
            if event.name != "line" {
                continue;
            }
            opened.seen += 1;
            if opened.seen <= self.told {
                continue;
            }
            self.told = opened.seen;
            self.retry.succeeded();
            let line = serde_json::from_str(&event.data);
            return line.map(Some).map_err(|error| self.client.protocol(error));
        }
        Err(self.client.interrupted())
    }
}

fn build_path(project: &ProjectName, app: &AppName, number: u32) -> String {
    format!("{}/builds/b{number}", path(project, app))
}
