//! From BuildKit's progress to what is told of a build. Pure.

use std::collections::{BTreeMap, VecDeque};

use bollard::moby::buildkit::v1::{StatusResponse, Vertex};
use coracle_engine::build::{BuildEvent, StepState};

/// A line of output is told in pieces of at most this.
const LINE_BYTES: usize = 16 * 1024;
/// So many last lines of the step at fault are part of the error.
const LAST_LINES: usize = 12;
/// Letters of a step's id: enough within one build.
const ID_LETTERS: usize = 12;

/// What is known of a build's steps.
#[derive(Debug, Default)]
pub(super) struct Progress {
    steps: BTreeMap<String, Step>,
    /// The step that wrote last.
    last: String,
}

#[derive(Debug, Default)]
struct Step {
    state: Option<StepState>,
    runs_command: bool,
    /// What was written after the last line's end.
    open: Vec<u8>,
    lines: VecDeque<String>,
}

impl Progress {
    /// What is new.
    pub(super) fn take(&mut self, status: StatusResponse) -> Vec<BuildEvent> {
        let mut events = Vec::new();
        for vertex in &status.vertexes {
            self.vertex(vertex, &mut events);
        }
        for log in status.logs {
            let id = short(&log.vertex);
            self.last.clone_from(&id);
            let step = self.steps.entry(id.clone()).or_default();
            for byte in log.msg {
                // Programs that draw progress bars end their lines with a carriage return.
                if byte == b'\n' || byte == b'\r' {
                    step.end_line(&id, &mut events);
                } else {
                    step.open.push(byte);
                    if step.open.len() >= LINE_BYTES {
                        step.end_line(&id, &mut events);
                    }
                }
            }
        }
        events
    }

    fn vertex(&mut self, vertex: &Vertex, events: &mut Vec<BuildEvent>) {
        let state = if !vertex.error.is_empty() {
            StepState::Failed(plain(&vertex.error))
        } else if vertex.cached {
            StepState::Cached
        } else if let (Some(started), Some(completed)) = (&vertex.started, &vertex.completed) {
            let nanos = (completed.seconds - started.seconds) * 1_000_000_000
                + i64::from(completed.nanos)
                - i64::from(started.nanos);
            StepState::Done {
                millis: u64::try_from(nanos / 1_000_000).unwrap_or_default(),
            }
        } else if vertex.started.is_some() {
            StepState::Running
        } else {
            return;
        };
        let id = short(&vertex.digest);
        let step = self.steps.entry(id.clone()).or_default();
        step.runs_command = vertex.name.contains("RUN ");
        if state != StepState::Running {
            step.end_open(&id, events);
        }
        if step.state.as_ref() != Some(&state) {
            step.state = Some(state.clone());
            events.push(BuildEvent::Step {
                id,
                name: vertex.name.clone(),
                state,
            });
        }
    }

    /// What was written without a line's end, when nothing follows any more.
    pub(super) fn rest(&mut self) -> Vec<BuildEvent> {
        let mut events = Vec::new();
        for (id, step) in &mut self.steps {
            step.end_open(id, &mut events);
        }
        events
    }

    /// Steps that run a command now.
    pub(super) fn commands_running(&self) -> usize {
        self.steps
            .values()
            .filter(|step| step.runs_command && step.state == Some(StepState::Running))
            .count()
    }

    /// The last lines of the step that failed, or else of the one that wrote last.
    pub(super) fn last_lines(&self) -> impl Iterator<Item = &str> {
        let failed = self
            .steps
            .values()
            .find(|step| matches!(step.state, Some(StepState::Failed(_))));
        failed
            .or_else(|| self.steps.get(&self.last))
            .into_iter()
            .flat_map(|step| step.lines.iter().map(String::as_str))
    }
}

impl Step {
    fn end_open(&mut self, id: &str, events: &mut Vec<BuildEvent>) {
        if !self.open.is_empty() {
            self.end_line(id, events);
        }
    }

    fn end_line(&mut self, id: &str, events: &mut Vec<BuildEvent>) {
        let text = String::from_utf8_lossy(&self.open).into_owned();
        self.open.clear();
        if !text.trim().is_empty() {
            self.lines.push_back(text.clone());
            if self.lines.len() > LAST_LINES {
                self.lines.pop_front();
            }
        }
        events.push(BuildEvent::Output {
            id: id.to_owned(),
            text,
        });
    }
}

fn short(digest: &str) -> String {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.chars().take(ID_LETTERS).collect()
}

/// An error of BuildKit without the layers that hand it on.
pub(super) fn plain(message: &str) -> String {
    let mut message = message.trim();
    const LAYERS: [&str; 4] = [
        "failed to solve with frontend dockerfile.v0: ",
        "failed to solve: ",
        "failed to create LLB definition: ",
        "rpc error: code = Unknown desc = ",
    ];
    while let Some(inner) = LAYERS.iter().find_map(|l| message.strip_prefix(l)) {
        message = inner;
    }
    message.to_owned()
}

/// The line of the Dockerfile that an error names.
pub(super) fn line_number(message: &str) -> Option<usize> {
    let (_, after) = message.split_once("parse error ")?;
    let (_, after) = after.split_once("line ")?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::moby::buildkit::v1::VertexLog;

    fn log(vertex: &str, text: &str) -> StatusResponse {
        StatusResponse {
            logs: vec![VertexLog {
                vertex: vertex.to_owned(),
                msg: text.as_bytes().to_vec(),
                ..VertexLog::default()
            }],
            ..StatusResponse::default()
        }
    }

    #[test]
    fn lines_are_told_whole_however_they_come() {
        let mut progress = Progress::default();
        assert!(progress.take(log("sha256:aa", "one")).is_empty());
        let told = progress.take(log("sha256:aa", " line\nand"));
        let output = |text: &str| BuildEvent::Output {
            id: "aa".to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(told, [output("one line")]);
        assert_eq!(progress.rest(), [output("and")]);
        assert_eq!(
            progress.last_lines().collect::<Vec<_>>(),
            ["one line", "and"]
        );
        let long = "x".repeat(LINE_BYTES + 1);
        assert_eq!(progress.take(log("sha256:aa", &long)).len(), 1);
    }

    #[test]
    fn an_error_is_told_without_its_layers() {
        let message = "failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error line 2: unknown instruction: BOGUS";
        assert_eq!(
            plain(message),
            "dockerfile parse error line 2: unknown instruction: BOGUS"
        );
        assert_eq!(line_number(&plain(message)), Some(2));
        assert_eq!(
            line_number("dockerfile parse error on line 12: x"),
            Some(12)
        );
        assert_eq!(line_number("executor failed on line 3"), None);
    }
}
