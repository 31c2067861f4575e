//! From the lines of a build's containers to what is told of it. Pure.
//!
//! Theory of operation: the build tools write for people, and what is read here only makes their lines easier to
//! follow. Nothing is decided by it: a line that is not understood is output, and how a build ended is read from its
//! pod, which image came out of it from the registry.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use coracle_engine::build::{BuildEvent, StepState};

use super::config::BuildTool;
use super::object::Stage;

/// So many last lines are part of the error.
const LAST_LINES: usize = 12;
/// Steps that are remembered: a build with more tells them as output.
const MOST_STEPS: usize = 1000;
/// Buildah's last step, which has no number.
const COMMIT: &str = "commit";

/// Reads the lines of one container.
#[derive(Debug)]
pub(crate) struct Progress {
    stage: Stage,
    tool: BuildTool,
    open: Option<Open>,
    /// BuildKit's steps run beside each other.
    names: BTreeMap<String, String>,
    last: VecDeque<String>,
}

#[derive(Debug)]
struct Open {
    id: String,
    name: String,
    since: DateTime<Utc>,
}

fn step(id: &str, name: &str, state: StepState) -> BuildEvent {
    BuildEvent::Step {
        id: id.to_owned(),
        name: name.to_owned(),
        state,
    }
}

fn output(id: &str, text: &str) -> BuildEvent {
    BuildEvent::Output {
        id: id.to_owned(),
        text: text.to_owned(),
    }
}

impl Progress {
    pub(crate) fn new(tool: BuildTool, stage: Stage) -> Self {
        Self {
            stage,
            tool,
            open: None,
            names: BTreeMap::new(),
            last: VecDeque::new(),
        }
    }

    /// The last lines, oldest first.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }

    /// What a line tells.
    pub(crate) fn line(&mut self, at: DateTime<Utc>, text: &str) -> Vec<BuildEvent> {
        // Programs that draw progress bars end their lines with a carriage return.
        let text = text
            .rsplit('\r')
            .find(|part| !part.is_empty())
            .unwrap_or_default();
        if !text.trim().is_empty() {
            if self.last.len() >= LAST_LINES {
                self.last.pop_front();
            }
            self.last.push_back(text.to_owned());
        }
        match (self.stage, self.tool) {
            (Stage::Build, BuildTool::Buildah) => self.buildah(at, text),
            (Stage::Build, BuildTool::Buildkit) => self.buildkit(text),
            (stage, _) => vec![output(stage.name(), text)],
        }
    }

    /// The container has ended.
    pub(crate) fn end(&mut self, at: DateTime<Utc>, failed: Option<&str>) -> Vec<BuildEvent> {
        match (self.open.take(), failed) {
            (Some(open), Some(why)) => {
                vec![step(
                    &open.id,
                    &open.name,
                    StepState::Failed(why.to_owned()),
                )]
            }
            (Some(open), None) => vec![done(&open, at)],
            (None, _) => Vec::new(),
        }
    }

    fn buildah(&mut self, at: DateTime<Utc>, text: &str) -> Vec<BuildEvent> {
        let begun = match buildah_step(text) {
            Some(begun) => Some(begun),
            None if text.starts_with("COMMIT ") => Some((COMMIT.to_owned(), COMMIT.to_owned())),
            None => None,
        };
        let Some((id, name)) = begun else {
            let id = self
                .open
                .as_ref()
                .map_or(self.stage.name(), |open| &open.id);
            return vec![output(id, text)];
        };
        let mut events = self.end(at, None);
        events.push(step(&id, &name, StepState::Running));
        self.open = Some(Open {
            id,
            name,
            since: at,
        });
        events
    }

    fn buildkit(&mut self, text: &str) -> Vec<BuildEvent> {
        let numbered = text.strip_prefix('#').and_then(|rest| rest.split_once(' '));
        let Some((id, rest)) = numbered.filter(|(id, _)| id.bytes().all(|b| b.is_ascii_digit()))
        else {
            return vec![output(self.stage.name(), text)];
        };
        let Some(name) = self.names.get(id) else {
            if self.names.len() < MOST_STEPS {
                self.names.insert(id.to_owned(), rest.to_owned());
            }
            return vec![step(id, rest, StepState::Running)];
        };
        if rest == *name {
            return Vec::new();
        }
        if rest == "CACHED" {
            return vec![step(id, name, StepState::Cached)];
        }
        if let Some(why) = rest.strip_prefix("ERROR: ") {
            return vec![step(id, name, StepState::Failed(why.to_owned()))];
        }
        if let Some(took) = rest.strip_prefix("DONE ") {
            let millis = millis(took).unwrap_or_default();
            return vec![step(id, name, StepState::Done { millis })];
        }
        // Output begins with the seconds since the step's begin.
        let text = match rest.split_once(' ') {
            Some((seconds, text)) if seconds.parse::<f64>().is_ok() => text,
            _ => rest,
        };
        vec![output(id, text)]
    }
}

fn done(open: &Open, at: DateTime<Utc>) -> BuildEvent {
    let millis = (at - open.since).num_milliseconds();
    let millis = u64::try_from(millis).unwrap_or_default();
    step(&open.id, &open.name, StepState::Done { millis })
}

/// `STEP 2/4: RUN make`, or with more than one stage `[1/2] STEP 2/4: RUN make`: its id and name.
fn buildah_step(text: &str) -> Option<(String, String)> {
    let (stage, rest) = match text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((stage, rest)) => (stage.split('/').next()?, rest),
        None => ("", text),
    };
    let (counts, what) = rest.strip_prefix("STEP ")?.split_once(": ")?;
    let (number, of) = counts.split_once('/')?;
    let numbers = [number, of].map(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if numbers != [true, true] {
        return None;
    }
    let (id, name) = if stage.is_empty() {
        (number.to_owned(), format!("[{counts}] {what}"))
    } else {
        (
            format!("{stage}.{number}"),
            format!("[{stage}: {counts}] {what}"),
        )
    };
    Some((id, name))
}

/// `0.3s`.
fn millis(took: &str) -> Option<u64> {
    let seconds: f64 = took.trim().strip_suffix('s')?.parse().ok()?;
    let millis = u64::try_from(
        std::time::Duration::try_from_secs_f64(seconds)
            .ok()?
            .as_millis(),
    );
    millis.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn buildahs_steps_follow_each_other() {
        let mut progress = Progress::new(BuildTool::Buildah, Stage::Build);
        let first = progress.line(at(0), "STEP 1/2: FROM debian:12");
        assert_eq!(
            first,
            [step("1", "[1/2] FROM debian:12", StepState::Running)]
        );
        assert_eq!(
            progress.line(at(1), "Copying blob"),
            [output("1", "Copying blob")]
        );
        let second = progress.line(at(2), "STEP 2/2: RUN make");
        assert_eq!(
            second,
            [
                step(
                    "1",
                    "[1/2] FROM debian:12",
                    StepState::Done { millis: 2000 }
                ),
                step("2", "[2/2] RUN make", StepState::Running),
            ]
        );
        assert_eq!(
            progress.end(at(3), Some("exit status 1")),
            [step(
                "2",
                "[2/2] RUN make",
                StepState::Failed("exit status 1".to_owned())
            )]
        );
        assert!(progress.end(at(3), None).is_empty());
    }

    #[test]
    fn buildahs_stages_have_steps_of_their_own() {
        let named = |id: &str, name: &str| Some((id.to_owned(), name.to_owned()));
        assert_eq!(
            buildah_step("[2/2] STEP 1/3: FROM a AS b"),
            named("2.1", "[2: 1/3] FROM a AS b")
        );
        assert_eq!(buildah_step("STEP x/3: FROM a"), None);
        assert_eq!(buildah_step("STEPS"), None);
    }

    #[test]
    fn buildkits_steps_run_beside_each_other() {
        let mut progress = Progress::new(BuildTool::Buildkit, Stage::Build);
        let mut told = |text: &str| progress.line(at(0), text);
        assert_eq!(
            told("#5 [2/3] RUN make"),
            [step("5", "[2/3] RUN make", StepState::Running)]
        );
        assert_eq!(
            told("#6 [3/3] COPY . ."),
            [step("6", "[3/3] COPY . .", StepState::Running)]
        );
        assert_eq!(told("#5 0.123 hello world"), [output("5", "hello world")]);
        assert_eq!(
            told("#6 CACHED"),
            [step("6", "[3/3] COPY . .", StepState::Cached)]
        );
        assert_eq!(
            told("#5 DONE 0.3s"),
            [step("5", "[2/3] RUN make", StepState::Done { millis: 300 })]
        );
        assert_eq!(told("#hash tag"), [output("build", "#hash tag")]);
        assert_eq!(
            told("error: failed to solve"),
            [output("build", "error: failed to solve")]
        );
    }

    #[test]
    fn the_last_lines_are_kept_without_empty_ones() {
        let mut progress = Progress::new(BuildTool::Buildah, Stage::Push);
        for number in 0..20 {
            progress.line(at(0), &format!("line {number}"));
            progress.line(at(0), "  ");
        }
        progress.line(at(0), "10%\r50%\r100%\r");
        let last = progress.last_lines();
        assert_eq!(last.len(), LAST_LINES);
        assert_eq!(last.last().unwrap(), "100%");
        assert_eq!(last[0], "line 9");
    }

    proptest! {
        #[test]
        fn no_line_is_a_crash(lines in prop::collection::vec(".{0,40}", 0..20), kit: bool) {
            let tool = if kit { BuildTool::Buildkit } else { BuildTool::Buildah };
            let mut progress = Progress::new(tool, Stage::Build);
            for line in &lines {
                progress.line(at(0), line);
                progress.line(at(0), &format!("#1 {line}"));
                progress.line(at(0), &format!("STEP {line}"));
            }
        }
    }
}
