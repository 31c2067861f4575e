//! Running the program's commands.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStdout, Command};

/// No command takes longer; one that does hangs.
const PATIENCE: Duration = Duration::from_secs(240);

/// A command that ended.
#[derive(Debug)]
pub struct Finished {
    /// What was run, for messages.
    pub line: String,
    /// Its exit status; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Finished {
    /// Its standard output, when it succeeded.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self}");
        &self.stdout
    }

    /// The last line of its standard output, when it succeeded.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn last_line(&self) -> &str {
        self.ok().lines().last().unwrap_or_default()
    }

    /// Its standard output as JSON, when it succeeded.
    ///
    /// # Panics
    /// When it did not, or printed something else.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.ok()).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// Its standard error, when it failed with `code`, said why on it and nothing on standard output.
    ///
    /// # Panics
    /// When it did otherwise.
    #[track_caller]
    pub fn refused(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self}");
        assert!(self.stderr.contains("error: "), "no `error:` line: {self}");
        assert!(!self.stderr.contains("panicked"), "it panicked: {self}");
        assert!(
            self.stdout.trim().is_empty(),
            "a result in spite of the failure: {self}"
        );
        &self.stderr
    }

    /// The same, and all of `words` are in it, in any case.
    ///
    /// # Panics
    /// When one is missing.
    #[track_caller]
    pub fn refused_with(&self, code: i32, words: &[&str]) -> &str {
        let said = self.refused(code).to_lowercase();
        for word in words {
            assert!(
                said.contains(&word.to_lowercase()),
                "{word:?} is missing: {self}"
            );
        }
        &self.stderr
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` ended with {:?} after {} ms\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.code,
            self.took.as_millis(),
            self.stdout,
            self.stderr
        )
    }
}

/// Runs a command to its end, giving it `input`.
pub(crate) async fn run(mut command: Command, input: &[u8]) -> Finished {
    let line = line(&command);
    let began = Instant::now();
    let stdin = if input.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("`{line}`: {error}"));
    let writing = child.stdin.take();
    let work = async {
        if let Some(mut pipe) = writing {
            use tokio::io::AsyncWriteExt as _;
            // Whoever does not read its input ends early: its status tells.
            drop(pipe.write_all(input).await);
        }
        child.wait_with_output().await
    };
    let done = tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| {
            panic!("`{line}` did not end (or left its output open) within {PATIENCE:?}")
        })
        .unwrap_or_else(|error| panic!("`{line}`: {error}"));
    Finished {
        line,
        code: code(done.status),
        stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        took: began.elapsed(),
    }
}

fn code(status: ExitStatus) -> Option<i32> {
    status.code()
}

fn line(command: &Command) -> String {
    let command = command.as_std();
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().chars().take(100).collect::<String>())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A command that goes on, such as `logs -f`. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: ChildStdout,
    seen: String,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the program can be run");
        let stdout = child.stdout.take().expect("it is piped");
        Self {
            child,
            stdout,
            seen: String::new(),
        }
    }

    /// Waits until its standard output has `text`.
    ///
    /// # Panics
    /// When it does not say it in time.
    pub async fn says(&mut self, text: &str) {
        let read = async {
            let mut buffer = [0_u8; 4096];
            while !self.seen.contains(text) {
                let count = self
                    .stdout
                    .read(&mut buffer)
                    .await
                    .expect("its output can be read");
                assert!(count > 0, "it ended without saying {text:?}: {}", self.seen);
                self.seen
                    .push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        };
        let said = tokio::time::timeout(crate::LONG, read).await;
        assert!(said.is_ok(), "it did not say {text:?}: {}", self.seen);
    }

    /// Waits for the first line of its standard output.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn first_line(&mut self) -> &str {
        self.says("\n").await;
        self.seen.lines().next().unwrap_or_default()
    }

    /// Asks it to end, as Ctrl-C does.
    ///
    /// # Panics
    /// When it has ended.
    pub fn interrupt(&self) {
        let id = self.child.id().expect("it goes on");
        let id = i32::try_from(id)
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let sent = rustix::process::kill_process(id.expect("an id"), rustix::process::Signal::INT);
        sent.expect("a signal can be sent");
    }

    /// Waits for its end and gives its exit status.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn ends(mut self) -> Option<i32> {
        let mut rest = Vec::new();
        let work = async {
            self.stdout
                .read_to_end(&mut rest)
                .await
                .expect("its output can be read");
            self.child.wait().await
        };
        let ended = tokio::time::timeout(PATIENCE, work).await.expect("it ends");
        code(ended.expect("it can be waited for"))
    }
}
