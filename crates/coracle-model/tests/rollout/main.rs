//! Scripts of the rollout planner with their golden output: `tests/rollout/scripts/*.txt`.
//!
//! A line of a script is a command; the lines below it that begin with two spaces are what it printed. Run with
//! `UPDATE_EXPECT=1` to write the output anew, and read the difference.
//!
//! | command | what happens |
//! |---|---|
//! | `release web=1 worker=2 [command=LINE]` | somebody asks for a new release |
//! | `plan` | prints the plan |
//! | `settle` | does plans until nothing is new, and prints each new step |
//! | `resolved v1 [PORT…]`, `unresolvable v1 WHY` | the image is there, or cannot be had |
//! | `pod PREFIX PHASE [restarts=N] [exit=N] [oom] [reason=…]` | pods change |
//! | `time SECONDS`, `gone`, `scale web=3`, `delete`, `restart`, `synced` | the clock; stopping pods stop; wishes; the controller |
//! | `show` | prints app, releases, pods and route |

#![expect(clippy::unwrap_used, reason = "tests and their world")]

mod properties;
mod world;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::world::World;
use coracle_model::name::ProcessName;
use coracle_model::plan::job::Job;
use coracle_model::plan::rollout::{Action, Plan, ReleaseChange};
use coracle_model::pod::{Exit, ExitCause, PodPhase};
use coracle_model::route::Target;

#[test]
fn scripts() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rollout/scripts");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    let mut stale = Vec::new();
    for path in scripts {
        let script = std::fs::read_to_string(&path).unwrap();
        let now = run(&script);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &now).unwrap();
        } else if now != script {
            stale.push(format!(
                "{}:\n{}",
                path.display(),
                first_difference(&script, &now)
            ));
        }
    }
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}

fn first_difference(expected: &str, got: &str) -> String {
    let mut lines = expected.lines().zip(got.lines()).enumerate();
    match lines.find(|(_, (a, b))| a != b) {
        Some((n, (a, b))) => format!("line {}:\n  expected {a:?}\n  got      {b:?}", n + 1),
        None => "one is longer than the other".to_owned(),
    }
}

fn run(script: &str) -> String {
    let mut world = World::new();
    let mut out = String::new();
    for line in script.lines().filter(|line| !line.starts_with("  ")) {
        out.push_str(line);
        out.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        for said in command(&mut world, line) {
            writeln!(out, "  {said}").unwrap();
        }
    }
    out
}

fn command(world: &mut World, line: &str) -> Vec<String> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let words: Vec<&str> = rest.split_whitespace().collect();
    match verb {
        "release" => {
            let (plain, run) = match rest.split_once("command=") {
                Some((plain, run)) => (plain, Some(run)),
                None => (rest, None),
            };
            let processes: Vec<_> = plain.split_whitespace().map(pair).collect();
            return vec![format!("v{}", world.release(&processes, run))];
        }
        "plan" => return planned(world, &world.plan()),
        "settle" => return settle(world),
        "show" => return show(world),
        "resolved" => {
            let ports = words[1..]
                .iter()
                .map(|port| port.parse().unwrap())
                .collect();
            world.resolved(number(words[0]), ports);
        }
        "unresolvable" => {
            let change = ReleaseChange::Failed {
                reason: rest.split_once(' ').unwrap().1.to_owned(),
                log_from: None,
            };
            let now = world.now;
            change.apply(
                &mut world.release_mut(number(words[0])).status,
                Vec::new(),
                now,
            );
        }
        "pod" => pod(world, &words),
        "time" => world.pass(Duration::from_secs(rest.parse().unwrap())),
        "gone" => world.stop_stopping(),
        "scale" => {
            for (process, replicas) in words.iter().copied().map(pair) {
                let name = ProcessName::new(process).unwrap();
                world
                    .app
                    .as_mut()
                    .unwrap()
                    .spec
                    .scale
                    .insert(name, replicas);
            }
        }
        "delete" => world.app.as_mut().unwrap().metadata.deleting = Some(world.now),
        "restart" => world.restart(),
        "synced" => world.synced(),
        other => panic!("no such command: {other}"),
    }
    Vec::new()
}

fn pair(text: &str) -> (&str, u32) {
    let (name, n) = text.split_once('=').unwrap();
    (name, n.parse().unwrap())
}

fn number(release: &str) -> u32 {
    release.strip_prefix('v').unwrap().parse().unwrap()
}

fn pod(world: &mut World, words: &[&str]) {
    let phase: PodPhase = serde_json::from_value(words[1].into()).unwrap();
    let now = world.now;
    world.pods_named(words[0], |pod| {
        let status = &mut pod.status;
        status.phase = phase;
        for word in &words[2..] {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "restarts" => status.restarts = value.parse().unwrap(),
                "exit" => {
                    status.exit = Some(Exit {
                        code: value.parse().unwrap(),
                        cause: ExitCause::Exited,
                        at: Some(now),
                    });
                }
                "oom" => {
                    status.exit = Some(Exit {
                        code: 137,
                        cause: ExitCause::OutOfMemory,
                        at: Some(now),
                    });
                }
                "unstarted" => status.started = None,
                "reason" => status.reason = Some(value.replace('_', " ")),
                other => panic!("no such fact: {other}"),
            }
        }
    });
}

fn settle(world: &mut World) -> Vec<String> {
    let mut said = Vec::new();
    for _ in 0..50 {
        let plan = world.plan();
        let mut news = false;
        for step in &plan.steps {
            if world.execute(&step.action) {
                news = true;
                said.push(format!("{} ({})", action(&step.action), step.why));
            } else if let Action::ResolveImage(_) = step.action {
                let line = format!("{} ({})", action(&step.action), step.why);
                if !said.contains(&line) {
                    said.push(line);
                }
            }
        }
        if !news {
            if let Some(at) = plan.wake_at {
                said.push(format!("wake in {} s", (at - world.now).num_seconds()));
            }
            return said;
        }
    }
    panic!("it does not settle: {said:#?}");
}

fn planned(world: &World, plan: &Plan) -> Vec<String> {
    let mut said: Vec<_> = plan
        .steps
        .iter()
        .map(|step| format!("{} ({})", action(&step.action), step.why))
        .collect();
    if let Some(at) = plan.wake_at {
        said.push(format!("wake in {} s", (at - world.now).num_seconds()));
    }
    said
}

fn action(action: &Action) -> String {
    match action {
        Action::SetRelease { release, change } => match change {
            ReleaseChange::Begin => format!("{release} begins"),
            ReleaseChange::Prepared => format!("{release} is prepared"),
            ReleaseChange::Live => format!("{release} is live"),
            ReleaseChange::Superseded { reason: None } => format!("{release} is superseded"),
            ReleaseChange::Superseded {
                reason: Some(reason),
            } => {
                format!("{release} is superseded: {reason}")
            }
            ReleaseChange::Failed { reason, log_from } => match log_from {
                Some(pod) => format!("{release} failed, log of {}: {reason}", pod.name),
                None => format!("{release} failed: {reason}"),
            },
        },
        Action::ResolveImage(release) => format!("resolve the image of {release}"),
        Action::Apply(wish) => match &wish.job {
            Job::Process { replicas, .. } => format!("apply {} x {replicas}", wish.id.name),
            Job::ReleaseCommand => format!("run {}", wish.id.name),
        },
        Action::Remove(id) => format!("remove {}", id.name),
        Action::MoveTraffic(release) => format!("move the traffic to {release}"),
        Action::SetAppStatus(shown) => {
            let phase = serde_json::to_value(shown.phase).unwrap();
            let reason = shown
                .reason
                .as_deref()
                .map(|reason| format!(": {reason}"))
                .unwrap_or_default();
            format!("app is {}{reason}", phase.as_str().unwrap())
        }
        Action::FinishDeletion => "delete its records".to_owned(),
    }
}

fn show(world: &World) -> Vec<String> {
    let mut said = Vec::new();
    let Some(app) = &world.app else {
        return vec!["no app".to_owned()];
    };
    let word = |value: serde_json::Value| value.as_str().unwrap().to_owned();
    let live = app
        .status
        .release
        .map_or("none".to_owned(), |live| live.to_string());
    let phase = word(serde_json::to_value(app.status.phase).unwrap());
    said.push(format!("app {phase}, live {live}"));
    for (process, status) in &app.status.processes {
        said.push(format!(
            "{process} {}/{} ready",
            status.ready, status.replicas
        ));
    }
    for release in &world.releases {
        let phase = word(serde_json::to_value(release.status.phase).unwrap());
        let reason = release
            .status
            .reason
            .as_deref()
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default();
        said.push(format!("{} {phase}{reason}", release.metadata.name));
    }
    for pod in &world.pods {
        let phase = word(serde_json::to_value(pod.status.phase).unwrap());
        said.push(format!("pod {} {phase}", pod.id.name));
    }
    said.push(match world.target() {
        None => "route none".to_owned(),
        Some(Target::Pods { pods }) => {
            let pods: Vec<_> = pods.iter().map(ToString::to_string).collect();
            format!("route {}", pods.join(" "))
        }
        Some(Target::Starting) => "route starting".to_owned(),
        Some(Target::Stopped) => "route stopped".to_owned(),
        Some(Target::Failed { reason }) => format!("route failed: {reason}"),
    });
    said
}
