//! Simulated builds: what a test scripted, in virtual time.

use std::time::Duration;

use coracle_model::name::ImageRef;

use super::image::{SimImage, digest, image};
use super::journal::Act;
use super::{Inner, SimEngine, shell};
use crate::build::{BuildEvent, BuildProgress, BuildRequest, BuiltImage, StepState};
use crate::error::EngineError;

/// What the next build does.
#[derive(Clone, Debug)]
pub struct BuildScript {
    /// Its steps, each with the lines that it writes.
    pub steps: Vec<(String, Vec<String>)>,
    /// What comes out: an image that behaves so, or what the person must read.
    pub outcome: Result<SimImage, String>,
}

impl Default for BuildScript {
    /// Two steps and an image that serves on 8080.
    fn default() -> Self {
        Self {
            steps: vec![
                ("[1/2] FROM debian:12".into(), Vec::new()),
                ("[2/2] COPY . .".into(), vec!["copied".into()]),
            ],
            outcome: Ok(image("built").ports([8080])),
        }
    }
}

impl BuildScript {
    /// A build that makes an image that behaves like this one.
    #[must_use]
    pub fn makes(image: SimImage) -> Self {
        Self {
            outcome: Ok(image),
            ..Self::default()
        }
    }

    /// A build that fails with this message after its steps.
    #[must_use]
    pub fn fails(message: &str) -> Self {
        Self {
            outcome: Err(message.to_owned()),
            ..Self::default()
        }
    }
}

/// Runs the next scripted build.
pub(super) async fn build(
    engine: &SimEngine,
    request: BuildRequest,
    progress: BuildProgress,
) -> Result<BuiltImage, EngineError> {
    let world = &engine.world;
    let scripted = world.with(|state| state.builds.pop_front());
    let script = match scripted {
        Some(script) => script,
        None => from_dockerfile(world, &request).await,
    };
    let limit = request.limits.time;
    let work = run_steps(world, &script, &progress);
    let ended = tokio::select! {
        () = request.cancel.cancelled() => Some("it was cancelled"),
        worked = tokio::time::timeout(limit, work) => worked.err().map(|_| "its time was over"),
    };
    let note = |outcome| {
        world.with(|state| {
            state.note(Act::Built {
                id: request.id.clone(),
                outcome,
            });
        });
    };
    if let Some(why) = ended {
        note("ended");
        return Err(EngineError::BuildEnded(why));
    }
    let mut made = match script.outcome {
        Ok(made) => made,
        Err(message) => {
            note("failed");
            return Err(EngineError::BuildFailed(message));
        }
    };
    let count = world.with(super::state::State::ticket);
    let id = digest(&format!("{}#{count}", request.push));
    let repository = request.push.as_str();
    let repository = match repository.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => path,
        _ => repository,
    };
    let pinned = format!("{repository}@{id}");
    let reference =
        ImageRef::new(pinned.clone()).map_err(|error| EngineError::Refused(error.to_string()))?;
    made.id = id;
    made.reference = request.push.to_string();
    let ports = made.ports.clone();
    world.with(|state| {
        state.images.insert(made.reference.clone(), made.clone());
        made.reference = pinned;
        state.images.insert(made.reference.clone(), made);
    });
    note("succeeded");
    Ok(BuiltImage { reference, ports })
}

/// What an unscripted build does: what its Dockerfile says, as far as the small shell understands it. Without a
/// Dockerfile (a test that never unpacked any source) it is [`BuildScript::default`].
async fn from_dockerfile(world: &Inner, request: &BuildRequest) -> BuildScript {
    let path = request.context.join(&request.dockerfile);
    let Ok(text) = tokio::fs::read_to_string(path).await else {
        return BuildScript::default();
    };
    let mut made = image("built");
    let mut steps = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" | "#" => continue,
            "FROM" => {
                if let Some(base) = world.with(|state| state.find_image(rest).cloned()) {
                    made = base;
                }
            }
            "EXPOSE" => made.ports = rest.split(' ').filter_map(|p| p.parse().ok()).collect(),
            "RUN" => {
                let (output, status) = shell::outcome(rest);
                if status != 0 {
                    steps.push((line.to_owned(), output));
                    let why =
                        format!("line {number} of the Dockerfile: {line} ended with {status}");
                    let outcome = Err(why);
                    return BuildScript { steps, outcome };
                }
                steps.push((line.to_owned(), output));
                continue;
            }
            "ADD" | "ARG" | "CMD" | "COPY" | "ENTRYPOINT" | "ENV" | "LABEL" | "USER" | "VOLUME"
            | "WORKDIR" => {}
            unknown => {
                let why =
                    format!("line {number} of the Dockerfile: unknown instruction: {unknown}");
                let outcome = Err(why);
                return BuildScript { steps, outcome };
            }
        }
        steps.push((line.to_owned(), Vec::new()));
    }
    BuildScript {
        steps,
        outcome: Ok(made),
    }
}

async fn run_steps(world: &Inner, script: &BuildScript, progress: &BuildProgress) {
    // A reader that went away does not end the build.
    let tell = async |event| drop(progress.send(event).await);
    for (at, (name, lines)) in script.steps.iter().enumerate() {
        let id = at.to_string();
        let took = world.with(|state| state.draw(|l| l.build_step));
        let step = |state| BuildEvent::Step {
            id: id.clone(),
            name: name.clone(),
            state,
        };
        tell(step(StepState::Running)).await;
        for text in lines {
            tell(BuildEvent::Output {
                id: id.clone(),
                text: text.clone(),
            })
            .await;
        }
        tokio::time::sleep(took).await;
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let last = at + 1 == script.steps.len();
        let state = match &script.outcome {
            Err(message) if last => StepState::Failed(message.clone()),
            _ => StepState::Done { millis },
        };
        tell(step(state)).await;
    }
    if script.outcome.is_ok() {
        tell(BuildEvent::Push {
            current: PUSHED,
            total: Some(PUSHED),
        })
        .await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Bytes that every simulated image has.
pub(super) const PUSHED: u64 = 2 << 20;
