//! What values a run configuration may have: one place for manifests and for the API.
//!
//! Each rule takes a value that already has its type and answers what is allowed, in words that follow the
//! field's name. [`RunConfig::check`] applies all of them to a configuration that came as JSON.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::env::EnvChange;
use crate::name::shown;
use crate::quantity::{ByteSize, Span};
use crate::release::{CommandLine, Health, ProcessSpec, RunConfig, Scale};

/// The variable that the platform sets itself.
pub const PORT_VARIABLE: &str = "PORT";
/// The most processes that an app may have.
pub const MOST_PROCESSES: usize = 20;
/// The most volumes that an app may have.
pub const MOST_VOLUMES: usize = 20;
/// The most bytes of a command, all its words together.
pub const COMMAND_BYTES: usize = 16 * 1024;
/// The most bytes of a path within a pod or a source.
pub const PATH_BYTES: usize = 1024;
/// Less memory than this starts no process.
pub const LEAST_MEMORY: ByteSize = ByteSize::mib(4);
/// More memory or disk than this is a typing error, and engines count in signed 64 bits.
pub const MOST_BYTES: ByteSize = ByteSize(64 << 40);

/// A field of a configuration with a value that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidValue {
    /// Its path, such as `processes.web.port`.
    pub field: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// Fine, or what is wrong and what is allowed.
pub(super) type Verdict = Result<(), String>;

fn within(value: Span, least: Span, most: Span) -> Verdict {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{value} is out of range: use {least} to {most}"))
}

const TENTH: Span = Span(Duration::from_millis(100));
const HOUR: Span = Span::secs(3600);
const DAY: Span = Span::secs(24 * 3600);

/// Time between two probes, and for the answer to one.
pub(super) fn probe_time(value: Span) -> Verdict {
    within(value, TENTH, HOUR)
}

/// Time until a pod must be ready.
pub(super) fn grace(value: Span) -> Verdict {
    within(value, TENTH, DAY)
}

/// Time between SIGTERM and SIGKILL.
pub(super) fn stop_grace(value: Span) -> Verdict {
    within(value, Span::secs(0), HOUR)
}

/// Time without a request before sleep.
pub(super) fn idle(value: Span) -> Verdict {
    within(value, Span::secs(1), Span(DAY.0 * 365))
}

/// Failures in a row.
pub(super) fn failures(value: u32) -> Verdict {
    if (1..=100).contains(&value) {
        return Ok(());
    }
    Err(format!("{value} is out of range: use 1 to 100"))
}

/// A port. 0 is none: the kernel would choose one that nobody knows.
pub(super) fn port(value: u16) -> Verdict {
    if value > 0 {
        return Ok(());
    }
    Err("0 is out of range: use 1 to 65535".to_owned())
}

/// Pods of a process.
pub(super) fn replicas(value: u32) -> Verdict {
    if value <= ProcessSpec::MOST_REPLICAS {
        return Ok(());
    }
    Err(format!(
        "{value} is out of range: use 0 to {}",
        ProcessSpec::MOST_REPLICAS
    ))
}

/// Memory of a pod.
pub(super) fn memory(value: ByteSize) -> Verdict {
    if (LEAST_MEMORY..=MOST_BYTES).contains(&value) {
        return Ok(());
    }
    Err(format!(
        "{value} is out of range: use {LEAST_MEMORY} to {MOST_BYTES}"
    ))
}

/// Size of a volume.
pub(super) fn volume_size(value: ByteSize) -> Verdict {
    const LEAST: ByteSize = ByteSize::mib(1);
    if (LEAST..=MOST_BYTES).contains(&value) {
        return Ok(());
    }
    Err(format!(
        "{value} is out of range: use {LEAST} to {MOST_BYTES}"
    ))
}

/// Limits of automatic scaling.
pub(super) fn scale(value: &Scale) -> Verdict {
    let most = ProcessSpec::MOST_REPLICAS;
    if value.max == 0 || value.max > most {
        return Err(format!(
            "max {} is out of range: use 1 to {most}",
            value.max
        ));
    }
    if value.min > value.max {
        return Err(format!(
            "min {} is more than max {}: use a min up to max",
            value.min, value.max
        ));
    }
    Ok(())
}

/// The path of a health check: what stands after the host in a URL.
pub(super) fn health_path(path: &str) -> Verdict {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'#';
    if path.starts_with('/') && path.len() <= PATH_BYTES && path.bytes().all(plain) {
        return Ok(());
    }
    Err(format!(
        "{} is no path: use one that begins with / and has neither spaces nor control characters, such as /healthz",
        shown(path)
    ))
}

fn has_forbidden_control(text: &str) -> bool {
    text.chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t')
}

/// A command.
pub(super) fn command(command: &CommandLine) -> Verdict {
    let words = match command {
        CommandLine::Shell(line) => std::slice::from_ref(line),
        CommandLine::Exec(words) => words.as_slice(),
    };
    if words.first().is_none_or(|first| first.trim().is_empty()) {
        return Err(
            "the command is empty: write one, or leave the key out for the image's own".into(),
        );
    }
    if words.iter().map(String::len).sum::<usize>() > COMMAND_BYTES {
        return Err(format!(
            "the command is too long: use up to {COMMAND_BYTES} bytes"
        ));
    }
    if words.iter().any(|word| has_forbidden_control(word)) {
        return Err("the command has a control character: use text, tabs and line ends".into());
    }
    Ok(())
}

/// The value of a variable.
pub(super) fn env_value(value: &str) -> Verdict {
    if value.len() > EnvChange::VALUE_BYTES {
        return Err(format!(
            "the value is too long: use up to {} bytes",
            EnvChange::VALUE_BYTES
        ));
    }
    if value.contains('\0') {
        return Err("the value has a NUL character, which no variable can hold".into());
    }
    Ok(())
}

/// Where a volume is mounted.
pub(super) fn volume_path(path: &str) -> Verdict {
    const RULE: &str = "use an absolute path without . or .. or a slash at its end, such as /data";
    let normal = path
        .strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(|name| !matches!(name, "" | "." | "..")));
    if !normal || path.len() > PATH_BYTES || path.chars().any(char::is_control) {
        return Err(format!("{} is no place for a volume: {RULE}", shown(path)));
    }
    // Docker reads these apart in its own mount syntax.
    if path.contains([':', ',']) {
        return Err(format!(
            "{} has a colon or comma: leave them out",
            shown(path)
        ));
    }
    let top = path[1..].split('/').next().unwrap_or_default();
    if matches!(top, "proc" | "sys" | "dev") {
        return Err(format!("/{top} belongs to the system: {RULE}"));
    }
    Ok(())
}

/// A path within the source.
pub(crate) fn source_path(path: &str) -> Verdict {
    let normal = path.split('/').all(|name| !matches!(name, "" | "." | ".."));
    if normal
        && path.len() <= PATH_BYTES
        && !path.chars().any(char::is_control)
        && !path.contains('\\')
    {
        return Ok(());
    }
    Err(format!(
        "{} is no path within the source: use one relative to the folder of coracle.toml without . or .., such as docker/Dockerfile",
        shown(path)
    ))
}

/// The name of a language recipe.
pub(super) fn runtime(name: &str) -> Verdict {
    let bytes = name.as_bytes();
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(b);
    if (1..=40).contains(&bytes.len()) && bytes[0].is_ascii_lowercase() && bytes.iter().all(plain) {
        return Ok(());
    }
    Err(format!(
        "{} is no runtime: use a name such as python or node",
        shown(name)
    ))
}

/// `replicas` beside `scale`.
pub(super) fn replicas_in_scale(replicas: u32, scale: &Scale) -> Verdict {
    if (scale.min..=scale.max).contains(&replicas) {
        return Ok(());
    }
    Err(format!(
        "{replicas} is outside of scale: use {} to {}, or leave it out",
        scale.min, scale.max
    ))
}

impl RunConfig {
    /// Applies every rule to a configuration that did not come from a manifest.
    ///
    /// # Errors
    /// Every field whose value is not allowed.
    pub fn check(&self) -> Result<(), Vec<InvalidValue>> {
        let mut wrong = Vec::new();
        let mut note = |field: String, verdict: Verdict| {
            if let Err(message) = verdict {
                wrong.push(InvalidValue { field, message });
            }
        };
        if self.processes.is_empty() || self.processes.len() > MOST_PROCESSES {
            note(
                "processes".into(),
                Err(format!(
                    "there are {}: use 1 to {MOST_PROCESSES}",
                    self.processes.len()
                )),
            );
        }
        for (name, process) in self.processes.iter().take(MOST_PROCESSES) {
            check_process(&format!("processes.{name}"), process, &mut note);
        }
        if self.env.len() > EnvChange::VARIABLES {
            note(
                "env".into(),
                Err(format!(
                    "too many variables: use up to {}",
                    EnvChange::VARIABLES
                )),
            );
        }
        for (name, value) in &self.env {
            let verdict = env_value(value).and_then(|()| env_name(name.as_str()));
            note(format!("env.{name}"), verdict);
        }
        if let Some(line) = &self.release_command {
            note("release_command".into(), command(line));
        }
        self.check_volumes(&mut note);
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn check_volumes(&self, note: &mut impl FnMut(String, Verdict)) {
        if self.volumes.len() > MOST_VOLUMES {
            note(
                "volumes".into(),
                Err(format!("too many: use up to {MOST_VOLUMES}")),
            );
        }
        let mut taken = Taken::default();
        for (i, volume) in self.volumes.iter().take(MOST_VOLUMES).enumerate() {
            note(format!("volumes[{i}].path"), volume_path(&volume.path));
            note(format!("volumes[{i}].path"), taken.path(&volume.path));
            note(
                format!("volumes[{i}].name"),
                taken.name(volume.name.as_str()),
            );
            if let Some(size) = volume.size {
                note(format!("volumes[{i}].size"), volume_size(size));
            }
        }
    }
}

fn check_process(at: &str, process: &ProcessSpec, note: &mut impl FnMut(String, Verdict)) {
    if let Some(line) = &process.command {
        note(format!("{at}.command"), command(line));
    }
    if let Some(value) = process.port {
        note(format!("{at}.port"), port(value));
    }
    note(format!("{at}.replicas"), replicas(process.replicas));
    if let Some(value) = process.memory {
        note(format!("{at}.memory"), memory(value));
    }
    note(format!("{at}.stop_grace"), stop_grace(process.stop_grace));
    if let Some(health) = &process.health {
        check_health(&format!("{at}.health"), health, note);
    }
    if let Some(limits) = &process.scale {
        note(format!("{at}.scale"), scale(limits));
        if let Some(value) = limits.idle {
            note(format!("{at}.scale.idle"), idle(value));
        }
    }
}

fn check_health(at: &str, health: &Health, note: &mut impl FnMut(String, Verdict)) {
    if let Some(path) = &health.path {
        note(format!("{at}.path"), health_path(path));
    }
    note(format!("{at}.interval"), probe_time(health.interval));
    note(format!("{at}.timeout"), probe_time(health.timeout));
    note(format!("{at}.grace"), grace(health.grace));
    note(format!("{at}.failures"), failures(health.failures));
}

/// A variable's name beyond its alphabet.
pub(super) fn env_name(name: &str) -> Verdict {
    if name == PORT_VARIABLE {
        return Err("PORT is set by the platform: set the port of the process instead".into());
    }
    Ok(())
}

/// Names and paths that volumes have taken already.
#[derive(Default)]
pub(super) struct Taken {
    names: BTreeSet<String>,
    paths: BTreeSet<String>,
}

impl Taken {
    pub(super) fn name(&mut self, name: &str) -> Verdict {
        if self.names.insert(name.to_owned()) {
            return Ok(());
        }
        Err(format!(
            "there are two volumes named {name}: use another name"
        ))
    }

    pub(super) fn path(&mut self, path: &str) -> Verdict {
        if self.paths.insert(path.to_owned()) {
            return Ok(());
        }
        Err(format!(
            "there are two volumes at {}: use another path",
            shown(path)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{ProcessName, VolumeName};
    use crate::release::VolumeMount;

    #[test]
    fn a_configuration_from_the_api_is_held_to_the_same_rules() {
        assert_eq!(RunConfig::default().check(), Ok(()));
        let mut config = RunConfig::default();
        let web = config.processes.get_mut(&ProcessName::web()).unwrap();
        web.port = Some(0);
        web.replicas = 101;
        web.memory = Some(ByteSize(1));
        web.command = Some(CommandLine::Exec(vec![]));
        web.health = Some(Health {
            path: Some("health".into()),
            interval: Span::secs(0),
            ..Health::default()
        });
        let mount = VolumeMount {
            name: VolumeName::new("data").unwrap(),
            path: "/data/".into(),
            size: None,
        };
        config.volumes = vec![mount.clone(), mount];
        let fields: Vec<_> = config
            .check()
            .unwrap_err()
            .into_iter()
            .map(|e| e.field)
            .collect();
        assert_eq!(
            fields,
            [
                "processes.web.command",
                "processes.web.port",
                "processes.web.replicas",
                "processes.web.memory",
                "processes.web.health.path",
                "processes.web.health.interval",
                "volumes[0].path",
                "volumes[1].path",
                "volumes[1].path",
                "volumes[1].name",
            ]
        );
    }

    #[test]
    fn volume_paths() {
        for good in ["/data", "/var/lib/x", "/a b"] {
            assert_eq!(volume_path(good), Ok(()), "{good}");
        }
        for bad in [
            "", "/", "data", "/a/", "//a", "/a//b", "/a/../b", "/./a", "/proc/x", "/sys", "/a\nb",
            "/a:ro", "/a,b",
        ] {
            assert!(volume_path(bad).is_err(), "{bad}");
        }
    }
}
