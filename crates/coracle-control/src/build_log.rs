//! Logs of builds: files of JSON lines.
//!
//! Theory of operation: one writer (the build's run) appends lines; any number of readers follow the file,
//! woken through a channel instead of polling. The file is the truth: a reader that comes later reads it from
//! the start. A log has a bound; beyond it one line says so and the rest is dropped.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use coracle_model::name::{AppName, ProjectName};
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::watch;

/// A line longer than this is cut.
const MOST_LINE_BYTES: usize = 16 * 1024;

/// How often a log that another process writes is looked at: there is no word from it on a shared volume.
const LOOK: std::time::Duration = std::time::Duration::from_millis(300);

/// A line of a build's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildLogLine {
    /// When.
    pub at: DateTime<Utc>,
    /// The step it belongs to, as the builder names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What happened to the step, or absent for output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Its text.
    pub text: String,
}

/// Which build.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BuildKey {
    /// Project of its app.
    pub project: ProjectName,
    /// Its app.
    pub app: AppName,
    /// Its number.
    pub number: u32,
}

/// The logs of all builds. Clones share them.
#[derive(Clone, Debug)]
pub struct BuildLogs {
    dir: PathBuf,
    most_bytes: u64,
    open: Arc<Mutex<HashMap<BuildKey, watch::Sender<u64>>>>,
}

impl BuildLogs {
    /// In `dir`, each at most `most_bytes` long.
    #[must_use]
    pub fn new(dir: PathBuf, most_bytes: u64) -> Self {
        Self {
            dir,
            most_bytes,
            open: Arc::default(),
        }
    }

    fn path(&self, key: &BuildKey) -> PathBuf {
        self.dir
            .join(key.project.as_str())
            .join(key.app.as_str())
            .join(format!("{}.log", key.number))
    }

    /// Begins a log afresh: a build that is run again after a crash tells everything again.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub async fn begin(&self, key: BuildKey) -> std::io::Result<BuildLogWriter> {
        let path = self.path(&key);
        if let Some(dir) = path.parent() {
            tokio::fs::create_dir_all(dir).await?;
        }
        let file = File::create(&path).await?;
        let length = watch::Sender::new(0);
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone(), length.clone());
        Ok(BuildLogWriter {
            logs: self.clone(),
            key,
            file,
            length,
            written: 0,
            limit: Limit::Below,
        })
    }

    /// Reads a log from the start. `None` when there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn read(&self, key: &BuildKey) -> std::io::Result<Option<BuildLogReader>> {
        let length = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .map(watch::Sender::subscribe);
        match File::open(self.path(key)).await {
            Ok(file) => Ok(Some(BuildLogReader {
                file: BufReader::new(file),
                length,
                partial: Vec::new(),
                read: 0,
            })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a log. No error when there is none.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub async fn remove(&self, key: &BuildKey) -> std::io::Result<()> {
        absent_is_fine(tokio::fs::remove_file(self.path(key)).await)
    }

    /// Removes all logs of an app.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub async fn remove_app(&self, project: &ProjectName, app: &AppName) -> std::io::Result<()> {
        absent_is_fine(
            tokio::fs::remove_dir_all(self.dir.join(project.as_str()).join(app.as_str())).await,
        )
    }
}

fn absent_is_fine(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Below,
    Reached,
}

/// Appends to a build's log. Dropping it ends the log: followers come to their end.
#[derive(Debug)]
pub struct BuildLogWriter {
    logs: BuildLogs,
    key: BuildKey,
    file: File,
    length: watch::Sender<u64>,
    written: u64,
    limit: Limit,
}

impl BuildLogWriter {
    /// Appends a line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn line(
        &mut self,
        step: Option<&str>,
        state: Option<&str>,
        text: &str,
    ) -> std::io::Result<()> {
        if self.limit == Limit::Reached {
            return Ok(());
        }
        let mut end = text.len().min(MOST_LINE_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let line = BuildLogLine {
            at: Utc::now(),
            step: step.map(str::to_owned),
            state: state.map(str::to_owned),
            text: text[..end].to_owned(),
        };
        self.append(&line).await?;
        if self.written >= self.logs.most_bytes {
            self.limit = Limit::Reached;
            let text = "the log is longer than it may be: the rest is left out".to_owned();
            self.append(&BuildLogLine {
                at: Utc::now(),
                step: None,
                state: None,
                text,
            })
            .await?;
        }
        Ok(())
    }

    async fn append(&mut self, line: &BuildLogLine) -> std::io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.file.write_all(&bytes).await?;
        self.file.flush().await?;
        self.written += bytes.len() as u64;
        self.length.send_replace(self.written);
        Ok(())
    }
}

impl Drop for BuildLogWriter {
    fn drop(&mut self) {
        self.logs
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}

/// Reads a build's log, and follows it while it is written.
#[derive(Debug)]
pub struct BuildLogReader {
    file: BufReader<File>,
    length: Option<watch::Receiver<u64>>,
    partial: Vec<u8>,
    /// Bytes that were read of the file.
    read: u64,
}

impl BuildLogReader {
    /// The next line that is there, or `None` at the end of what was written so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn next_written(&mut self) -> std::io::Result<Option<BuildLogLine>> {
        loop {
            let more = self.file.read_until(b'\n', &mut self.partial).await?;
            self.read += more as u64;
            if more == 0 || !self.partial.ends_with(b"\n") {
                return Ok(None);
            }
            let line = serde_json::from_slice(&self.partial);
            self.partial.clear();
            // A line that a crash cut in half is passed over.
            if let Ok(line) = line {
                return Ok(Some(line));
            }
        }
    }

    /// Waits a little for lines that another process may write. One that runs the build again begins the log afresh;
    /// then it is read from its start.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn pause(&mut self) -> std::io::Result<()> {
        tokio::time::sleep(LOOK).await;
        if self.file.get_ref().metadata().await?.len() < self.read {
            self.file.seek(std::io::SeekFrom::Start(0)).await?;
            self.partial.clear();
            self.read = 0;
        }
        Ok(())
    }

    /// The next line, waiting for it while the log is written; `None` when the log has ended.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn next(&mut self) -> std::io::Result<Option<BuildLogLine>> {
        loop {
            if let Some(length) = &mut self.length {
                length.mark_unchanged();
            }
            if let Some(line) = self.next_written().await? {
                return Ok(Some(line));
            }
            let Some(length) = &mut self.length else {
                return Ok(None);
            };
            if length.changed().await.is_err() {
                self.length = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> BuildKey {
        BuildKey {
            project: ProjectName::default_project(),
            app: AppName::new("hello").unwrap(),
            number: 1,
        }
    }

    #[tokio::test]
    async fn a_follower_sees_every_line_and_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let logs = BuildLogs::new(dir.path().into(), 1 << 20);
        assert!(logs.read(&key()).await.unwrap().is_none());
        let mut writer = logs.begin(key()).await.unwrap();
        let mut reader = logs.read(&key()).await.unwrap().unwrap();
        let follower = async {
            let mut seen = Vec::new();
            while let Some(line) = reader.next().await.unwrap() {
                seen.push(line.text);
            }
            seen
        };
        let author = async move {
            for n in 0..100 {
                writer
                    .line(Some("a"), None, &format!("line {n}"))
                    .await
                    .unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (seen, ()) = tokio::join!(follower, author);
        assert_eq!(
            seen,
            (0..100).map(|n| format!("line {n}")).collect::<Vec<_>>()
        );
        logs.remove_app(&key().project, &key().app).await.unwrap();
        assert!(logs.read(&key()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_log_has_a_bound_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let logs = BuildLogs::new(dir.path().into(), 500);
        let mut writer = logs.begin(key()).await.unwrap();
        for _ in 0..100 {
            writer.line(None, None, "0123456789").await.unwrap();
        }
        drop(writer);
        let mut reader = logs.read(&key()).await.unwrap().unwrap();
        let mut lines = Vec::new();
        while let Some(line) = reader.next().await.unwrap() {
            lines.push(line.text);
        }
        assert!(lines.len() < 20);
        assert!(lines.last().unwrap().contains("left out"));
    }
}
