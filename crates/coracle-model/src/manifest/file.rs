//! The sections of `coracle.toml`, one function each.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::env::EnvChange;
use crate::name::{AppName, EnvName, ProcessName, VolumeName};
use crate::quantity::Cpu;
use crate::release::{CommandLine, Health, ProcessSpec, RunConfig, Scale, VolumeMount};

use super::fault::{Fault, Faults, ManifestFile};
use super::reader::{Found, Section};
use super::{BuildConfig, Manifest, procfile, rules};

/// What `coracle.toml` says: no process where it names none.
pub(super) struct Said {
    pub(super) app: Option<AppName>,
    pub(super) build: BuildConfig,
    pub(super) run: RunConfig,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            app: None,
            build: BuildConfig::default(),
            run: RunConfig {
                processes: BTreeMap::new(),
                ..RunConfig::default()
            },
        }
    }
}

const TOP: [&str; 6] = ["app", "build", "env", "process", "release", "volume"];
const BUILD: [&str; 3] = ["context", "dockerfile", "runtime"];
const PROCESS: [&str; 8] = [
    "command",
    "cpu",
    "health",
    "memory",
    "port",
    "replicas",
    "scale",
    "stop_grace",
];
const HEALTH: [&str; 5] = ["failures", "grace", "interval", "path", "timeout"];
const SCALE: [&str; 3] = ["idle", "max", "min"];
const VOLUME: [&str; 3] = ["name", "path", "size"];

pub(super) fn read(text: &str, into: &mut Vec<Fault>) -> Said {
    let mut faults = Faults::new(ManifestFile::Toml, text, into);
    let mut said = Said::default();
    if text.len() > Manifest::MOST_BYTES {
        let message = format!(
            "the file is too long: use up to {} bytes",
            Manifest::MOST_BYTES
        );
        faults.add(&(0..0), "", message, None);
        return said;
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        // The parser's own words, cut to one line.
        let words = error.message().lines().collect::<Vec<_>>().join("; ");
        let at = error.span().unwrap_or(0..0);
        faults.add(&at, "", format!("this is no valid TOML: {words}"), None);
    }
    if !errors.is_empty() {
        // What the parser made of the rest is a guess, and faults found in a guess mislead.
        return said;
    }
    let top = Section::new(document.get_ref(), String::new(), 0..0);
    top.only(&TOP, &mut faults);
    said.app = name(&top, "app", AppName::new, &mut faults);
    said.run.release_command = top
        .find("release")
        .and_then(|found| read_command(&found, &mut faults));
    if let Some(section) = top.section("build", &mut faults) {
        said.build = read_build(&section, &mut faults);
    }
    if let Some(section) = top.section("env", &mut faults) {
        said.run.env = read_env(&section, &mut faults);
    }
    if let Some(section) = top.section("process", &mut faults) {
        said.run.processes = read_processes(&section, &mut faults);
    }
    if let Some(found) = top.find("volume") {
        said.run.volumes = read_volumes(&found, &mut faults);
    }
    said
}

/// The name under `key`.
fn name<T>(
    section: &Section<'_, '_>,
    key: &str,
    parse: fn(String) -> Result<T, crate::name::InvalidName>,
    faults: &mut Faults<'_>,
) -> Option<T> {
    let found = section.find(key)?;
    match parse(found.text(faults)?.to_owned()) {
        Ok(name) => Some(name),
        Err(error) => {
            faults.add(&found.span, &found.path, error.to_string(), None);
            None
        }
    }
}

fn read_build(section: &Section<'_, '_>, faults: &mut Faults<'_>) -> BuildConfig {
    section.only(&BUILD, faults);
    let build = BuildConfig {
        dockerfile: source_path(section, "dockerfile", faults),
        runtime: section.text("runtime", rules::runtime, faults),
        context: source_path(section, "context", faults).filter(|path| path != WHOLE),
    };
    if let (Some(_), Some(found)) = (&build.dockerfile, section.find("runtime")) {
        let message = "a source is built by its Dockerfile or by a runtime: keep one of `dockerfile` and `runtime`";
        faults.add(&found.span, &found.path, message, None);
    }
    build
}

/// The context that is the whole source.
const WHOLE: &str = ".";

/// A path within the source, without the `./` that many people write before it.
fn source_path(section: &Section<'_, '_>, key: &str, faults: &mut Faults<'_>) -> Option<String> {
    let found = section.find(key)?;
    let text = found.text(faults)?;
    let path = text.strip_prefix("./").unwrap_or(text);
    let rule = |path: &String| match path.as_str() {
        "" | WHOLE if key == "context" => Ok(()),
        path => rules::source_path(path),
    };
    let path = if path.is_empty() { WHOLE } else { path };
    found.judged(path.to_owned(), rule, faults)
}

fn read_env(section: &Section<'_, '_>, faults: &mut Faults<'_>) -> BTreeMap<EnvName, String> {
    let mut env = BTreeMap::new();
    if section.table.len() > EnvChange::VARIABLES {
        let message = format!("too many variables: use up to {}", EnvChange::VARIABLES);
        faults.add(&section.span, "env", message, None);
        return env;
    }
    for (key, at, found) in section.entries() {
        let name = match EnvName::new(key) {
            Ok(name) => name,
            Err(error) => {
                faults.add(&at, &found.path, error.to_string(), None);
                continue;
            }
        };
        if let Err(message) = rules::env_name(key) {
            faults.add(&at, &found.path, message, None);
            continue;
        }
        let value = found
            .text(faults)
            .and_then(|text| found.judged(text.to_owned(), |text| rules::env_value(text), faults));
        env.extend(value.map(|value| (name, value)));
    }
    env
}

fn read_processes(
    section: &Section<'_, '_>,
    faults: &mut Faults<'_>,
) -> BTreeMap<ProcessName, ProcessSpec> {
    let mut processes = BTreeMap::new();
    if section.table.len() > rules::MOST_PROCESSES {
        let message = format!("too many processes: use up to {}", rules::MOST_PROCESSES);
        faults.add(&section.span, "process", message, None);
        return processes;
    }
    for (key, at, found) in section.entries() {
        if key == procfile::RELEASE {
            let message = "this name is kept for the release command: write `release = \"…\"` at the top of the file, or use another name";
            faults.add(&at, &found.path, message, None);
            continue;
        }
        let name = match ProcessName::new(key) {
            Ok(name) => name,
            Err(error) => {
                // `[process]` with the settings of one process in it is the likely mistake.
                let hint = (!matches!(found.value, DeValue::Table(_)))
                    .then(|| "a process has a table of its own, such as [process.web]".to_owned());
                faults.add(&at, &found.path, error.to_string(), hint);
                continue;
            }
        };
        if PROCESS.contains(&key) && !matches!(found.value, DeValue::Table(_)) {
            let message =
                format!("a process has a table of its own: write `{key}` under [process.web]");
            faults.add(&at, &found.path, message, None);
            continue;
        }
        if let Some(process) = found.into_section(faults) {
            processes.insert(name, read_process(&process, faults));
        }
    }
    processes
}

fn read_process(section: &Section<'_, '_>, faults: &mut Faults<'_>) -> ProcessSpec {
    section.only(&PROCESS, faults);
    let default = ProcessSpec::default();
    let command = section
        .find("command")
        .and_then(|found| read_command(&found, faults));
    let port = section
        .number("port", 1..=u32::from(u16::MAX), faults)
        .and_then(|port| u16::try_from(port).ok());
    let health = section
        .section("health", faults)
        .map(|section| read_health(&section, faults));
    let scale = section
        .section("scale", faults)
        .and_then(|section| read_scale(&section, faults));
    let asked = section.number("replicas", 0..=ProcessSpec::MOST_REPLICAS, faults);
    let replicas = match (asked, &scale, section.find("replicas")) {
        (Some(asked), Some(scale), Some(found)) => found.judged(
            asked,
            |asked| rules::replicas_in_scale(*asked, scale),
            faults,
        ),
        (None, Some(scale), _) => Some(default.replicas.clamp(scale.min, scale.max)),
        (asked, _, _) => asked,
    };
    ProcessSpec {
        command,
        port,
        replicas: replicas.unwrap_or(default.replicas),
        cpu: section.quantity("cpu", |_: Cpu| Ok(()), faults),
        memory: section.quantity("memory", rules::memory, faults),
        health,
        scale,
        stop_grace: section
            .quantity("stop_grace", rules::stop_grace, faults)
            .unwrap_or(default.stop_grace),
    }
}

fn read_command(found: &Found<'_, '_>, faults: &mut Faults<'_>) -> Option<CommandLine> {
    const ALLOWED: &str = "use a line of text for the shell, or a list of words";
    let command = match found.value {
        DeValue::String(line) => CommandLine::Shell(line.trim().to_owned()),
        DeValue::Array(words) => {
            let words: Option<Vec<String>> = words
                .iter()
                .map(|word| word.get_ref().as_str().map(str::to_owned))
                .collect();
            let Some(words) = words else {
                faults.add(
                    &found.span,
                    &found.path,
                    format!("not every word is text: {ALLOWED}"),
                    None,
                );
                return None;
            };
            CommandLine::Exec(words)
        }
        _ => {
            found.wrong_type(ALLOWED, faults);
            return None;
        }
    };
    found.judged(command, rules::command, faults)
}

fn read_health(section: &Section<'_, '_>, faults: &mut Faults<'_>) -> Health {
    section.only(&HEALTH, faults);
    let default = Health::default();
    Health {
        path: section.text("path", rules::health_path, faults),
        interval: section
            .quantity("interval", rules::probe_time, faults)
            .unwrap_or(default.interval),
        timeout: section
            .quantity("timeout", rules::probe_time, faults)
            .unwrap_or(default.timeout),
        grace: section
            .quantity("grace", rules::grace, faults)
            .unwrap_or(default.grace),
        failures: section
            .number("failures", 1..=100, faults)
            .unwrap_or(default.failures),
    }
}

fn read_scale(section: &Section<'_, '_>, faults: &mut Faults<'_>) -> Option<Scale> {
    section.only(&SCALE, faults);
    let most = ProcessSpec::MOST_REPLICAS;
    let min = section.number("min", 0..=most, faults);
    let max = section.number("max", 1..=most, faults);
    let idle = section.quantity("idle", rules::idle, faults);
    let path = section.prefix.trim_end_matches('.');
    if section.find("max").is_none() {
        faults.add(
            &section.span,
            path,
            "`max` is missing: say how many pods there may be at most",
            None,
        );
    }
    if section.find("min").is_some() && min.is_none() {
        return None;
    }
    let scale = Scale {
        min: min.unwrap_or(1),
        max: max?,
        idle,
    };
    match rules::scale(&scale) {
        Ok(()) => Some(scale),
        Err(message) => {
            faults.add(&section.span, path, message, None);
            None
        }
    }
}

fn read_volumes(found: &Found<'_, '_>, faults: &mut Faults<'_>) -> Vec<VolumeMount> {
    let Some(list) = found.value.as_array() else {
        found.wrong_type("use [[volume]] with two brackets for each volume", faults);
        return Vec::new();
    };
    if list.len() > rules::MOST_VOLUMES {
        let message = format!("too many volumes: use up to {}", rules::MOST_VOLUMES);
        faults.add(&found.span, &found.path, message, None);
        return Vec::new();
    }
    let mut taken = rules::Taken::default();
    let mut volumes = Vec::new();
    for (i, entry) in list.iter().enumerate() {
        let entry = Found {
            value: entry.get_ref(),
            path: format!("volume[{i}]"),
            span: entry.span(),
        };
        if let Some(section) = entry.into_section(faults) {
            volumes.extend(read_volume(&section, &mut taken, faults));
        }
    }
    volumes
}

fn read_volume(
    section: &Section<'_, '_>,
    taken: &mut rules::Taken,
    faults: &mut Faults<'_>,
) -> Option<VolumeMount> {
    section.only(&VOLUME, faults);
    for key in ["name", "path"] {
        if section.find(key).is_none() {
            let path = section.prefix.trim_end_matches('.');
            faults.add(
                &section.span,
                path,
                format!("`{key}` is missing: a volume has a name and a path"),
                None,
            );
        }
    }
    let volume = name(section, "name", VolumeName::new, faults);
    let path = section.text("path", rules::volume_path, faults);
    let size = section.quantity("size", rules::volume_size, faults);
    let (volume, path) = (volume?, path?);
    for (key, verdict) in [
        ("name", taken.name(volume.as_str())),
        ("path", taken.path(&path)),
    ] {
        if let (Err(message), Some(found)) = (verdict, section.find(key)) {
            faults.add(&found.span, &found.path, message, None);
        }
    }
    Some(VolumeMount {
        name: volume,
        path,
        size,
    })
}
