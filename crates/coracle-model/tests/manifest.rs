//! Manifests as people write them: golden files, hostile input, and a round trip of everything that can be said.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use coracle_model::manifest::{Manifest, ManifestError};
use coracle_model::name::{EnvName, ProcessName, VolumeName};
use coracle_model::quantity::{ByteSize, Cpu, Span};
use coracle_model::release::{CommandLine, Health, ProcessSpec, RunConfig, Scale, VolumeMount};
use proptest::prelude::*;

/// Compares with the golden file, or writes it when `UPDATE_GOLDEN` is set.
fn golden(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/manifest")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        actual, expected,
        "{name} differs; UPDATE_GOLDEN=1 rewrites it"
    );
}

fn faults(toml: &str) -> ManifestError {
    Manifest::parse(Some(toml), None).unwrap_err()
}

#[test]
fn the_contract_is_read_whole() {
    let manifest = Manifest::parse(
        Some(include_str!("manifest/contract.toml")),
        Some(include_str!("manifest/contract.procfile")),
    )
    .unwrap();
    let shown = serde_json::json!({
        "app": manifest.app,
        "dockerfile": manifest.build.dockerfile,
        "runtime": manifest.build.runtime,
        "context": manifest.build.context,
        "run": manifest.run,
    });
    golden(
        "contract.json",
        &(serde_json::to_string_pretty(&shown).unwrap() + "\n"),
    );
    assert_eq!(manifest.run.check(), Ok(()));
}

#[test]
fn every_fault_is_told_with_its_place() {
    let toml = include_str!("manifest/faults.toml");
    let procfile = include_str!("manifest/faults.procfile");
    // Apart, because one error tells no more than 25.
    let (head, tail) = toml.split_at(toml.find("[process.worker]").unwrap());
    let all = [
        Manifest::parse(Some(head), None),
        Manifest::parse(Some(tail), None),
        Manifest::parse(None, Some(procfile)),
    ]
    .map(|outcome| outcome.unwrap_err().to_string() + "\n")
    .join("\n");
    golden("faults.txt", &all);
    let whole = Manifest::parse(Some(toml), Some(procfile)).unwrap_err();
    assert_eq!(whole.faults().len(), ManifestError::MOST_FAULTS);
    assert!(whole.to_string().contains("… and "), "{whole}");
}

#[test]
fn unknown_keys_name_the_nearest() {
    let error = faults("[process.web]\nport = 80\nreplcas = 2\n");
    let [fault] = error.faults() else {
        panic!("one fault: {error}")
    };
    assert_eq!((fault.line, fault.column), (3, 1));
    assert_eq!(fault.key, "process.web.replcas");
    assert_eq!(fault.hint.as_deref(), Some("did you mean `replicas`?"));
    let problem = error.to_problem();
    assert_eq!(problem.status, 422);
    assert_eq!(problem.field.as_deref(), Some("process.web.replcas"));
}

#[test]
fn broken_toml_is_told_with_its_place() {
    for (text, line) in [
        ("app = \n", 1),
        ("app = \"a\"\napp = \"b\"\n", 2),
        ("[process.web\nport = 1\n", 1),
        ("x = {", 1),
        ("app = \"a\" garbage\n", 1),
    ] {
        let error = faults(text);
        assert_eq!(error.faults()[0].line, line, "{text:?}: {error}");
        assert!(
            error.faults()[0].message.contains("no valid TOML"),
            "{error}"
        );
    }
}

#[test]
fn who_says_which_processes_there_are() {
    let processes = |toml, procfile| {
        let manifest = Manifest::parse(toml, procfile).unwrap();
        let names: Vec<_> = manifest
            .run
            .processes
            .keys()
            .map(ToString::to_string)
            .collect();
        names.join(" ")
    };
    assert_eq!(processes(None, None), "web");
    assert_eq!(processes(Some(""), Some("")), "web");
    assert_eq!(processes(None, Some("worker: x\n")), "worker");
    assert_eq!(processes(Some("[process.worker]\n"), None), "worker");
    assert_eq!(
        processes(Some("[process.web]\n"), Some("worker: x\r\n")),
        "web worker"
    );
    assert_eq!(processes(None, Some("release: x")), "web");

    let manifest = Manifest::parse(
        Some("[process.web]\nport = 81\n[process.worker]\ncommand = \"mine\"\n"),
        Some("\u{feff}web: theirs\nworker: theirs\nrelease: migrate\n"),
    )
    .unwrap();
    let web = &manifest.run.processes[&ProcessName::web()];
    assert_eq!(web.port, Some(81));
    assert_eq!(web.command, Some(CommandLine::Shell("theirs".into())));
    let worker = &manifest.run.processes[&ProcessName::new("worker").unwrap()];
    assert_eq!(worker.command, Some(CommandLine::Shell("mine".into())));
    assert_eq!(
        manifest.run.release_command,
        Some(CommandLine::Shell("migrate".into()))
    );
}

#[test]
fn hostile_input_is_refused_shortly_and_quickly() {
    let deep_arrays = format!("app = {}", "[".repeat(100_000));
    let deep_tables = format!("app = {}", "{a=".repeat(50_000));
    let deep_keys = format!("{}a = 1", "a.".repeat(100_000));
    let long_key = format!("{} = 1", "k".repeat(200_000));
    let many_keys: String = (0..20_000).map(|i| format!("k{i} = 1\n")).collect();
    let many_volumes = "[[volume]]\n".repeat(20_000);
    let control = "\"a\\u0000\\n\\u001b[31m\" = 1\n[process.\"a\\nb\"]\n".to_owned();
    let long = "#".repeat(Manifest::MOST_BYTES + 1);
    for text in [
        deep_arrays,
        deep_tables,
        deep_keys,
        long_key,
        many_keys,
        many_volumes,
        control,
        long,
    ] {
        let told = faults(&text).to_string();
        assert!(told.len() < 16_000, "{} bytes", told.len());
        let strange = |c: char| c.is_control() && c != '\n';
        assert!(!told.contains(strange), "{told:?}");
    }
    let lines = "x\n".repeat(100_000);
    let told = Manifest::parse(None, Some(&lines)).unwrap_err().to_string();
    assert!(told.len() < 16_000);
}

fn span(range: std::ops::Range<u64>) -> impl Strategy<Value = Span> {
    range.prop_map(|ms| Span(std::time::Duration::from_millis(ms)))
}

fn command() -> impl Strategy<Value = CommandLine> {
    prop_oneof![
        "[a-z$'\"\\\\]([ -~é\n]{0,20}[a-z])?"
            .prop_map(|line| CommandLine::Shell(line.trim().to_owned())),
        prop::collection::vec("[ -~é]{0,8}[a-z]", 1..4).prop_map(CommandLine::Exec),
    ]
}

fn process() -> impl Strategy<Value = ProcessSpec> {
    let health = (
        prop::option::of("/[a-z0-9/?=&%]{0,12}"),
        span(100..60_000),
        span(100..60_000),
        span(100..600_000),
        1..=100u32,
    )
        .prop_map(|(path, interval, timeout, grace, failures)| Health {
            path,
            interval,
            timeout,
            grace,
            failures,
        });
    let scale = (
        0..=100u32,
        1..=100u32,
        prop::option::of(span(1_000..9_000_000)),
    )
        .prop_map(|(a, b, idle)| Scale {
            min: a.min(b),
            max: a.max(b),
            idle,
        });
    (
        prop::option::of(command()),
        prop::option::of(1..=u16::MAX),
        0..=100u32,
        prop::option::of((10..1_024_000u32).prop_map(Cpu::from_milli)),
        prop::option::of((4 << 20..1u64 << 40).prop_map(ByteSize)),
        prop::option::of(health),
        prop::option::of(scale),
        span(0..3_600_000),
    )
        .prop_map(
            |(command, port, replicas, cpu, memory, health, scale, stop_grace)| ProcessSpec {
                command,
                port,
                replicas: scale
                    .as_ref()
                    .map_or(replicas, |s| replicas.clamp(s.min, s.max)),
                cpu,
                memory,
                health,
                scale,
                stop_grace,
            },
        )
}

fn config() -> impl Strategy<Value = RunConfig> {
    (
        prop::collection::btree_map("[a-qs-z][a-z0-9]{0,9}", process(), 1..4),
        prop::collection::btree_map("[A-OQ-Z_][A-Z0-9_]{0,9}", "[ -~é\n\t]{0,20}", 0..4),
        prop::option::of(command()),
        prop::collection::btree_map("[a-z]{1,8}", prop::option::of(1u64 << 20..1 << 40), 0..4),
    )
        .prop_map(|(processes, env, release_command, volumes)| RunConfig {
            processes: processes
                .into_iter()
                .map(|(name, spec)| (ProcessName::new(name).unwrap(), spec))
                .collect(),
            env: env
                .into_iter()
                .map(|(name, value)| (EnvName::new(name).unwrap(), value))
                .collect(),
            release_command,
            volumes: volumes
                .into_iter()
                .map(|(name, size)| VolumeMount {
                    path: format!("/mnt/{name}"),
                    name: VolumeName::new(name).unwrap(),
                    size: size.map(ByteSize),
                })
                .collect(),
        })
}

/// The configuration as a person would write it: through the serde form, with the manifest's words.
fn written(config: &RunConfig) -> String {
    let json = serde_json::to_value(config).unwrap();
    let words = BTreeMap::from([
        ("processes", "process"),
        ("env", "env"),
        ("release_command", "release"),
        ("volumes", "volume"),
    ]);
    let mut document = toml::Table::new();
    for (key, value) in json.as_object().unwrap() {
        if let Some(value) = without_nulls(value) {
            document.insert(words[key.as_str()].to_owned(), value);
        }
    }
    toml::to_string(&document).unwrap()
}

fn without_nulls(value: &serde_json::Value) -> Option<toml::Value> {
    use serde_json::Value;
    Some(match value {
        Value::Null => return None,
        Value::Array(items) => toml::Value::Array(items.iter().filter_map(without_nulls).collect()),
        Value::Object(map) => toml::Value::Table(
            map.iter()
                .filter_map(|(k, v)| Some((k.clone(), without_nulls(v)?)))
                .collect(),
        ),
        other => toml::Value::try_from(other).unwrap(),
    })
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(config in config()) {
        prop_assert_eq!(config.check(), Ok(()));
        let text = written(&config);
        let read = Manifest::parse(Some(&text), None);
        prop_assert_eq!(read.map(|m| m.run), Ok(config), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(toml in "(\\PC|[\\[\\]{}=.\"'#\n\r\t\u{0}]){0,200}", procfile in "(\\PC|[:\n\r\u{0}#]){0,100}") {
        let _either = Manifest::parse(Some(&toml), Some(&procfile));
    }

    #[test]
    fn no_mangled_manifest_makes_it_panic(cut in 0..900usize, junk in "[\\[\\]{}=.\"'#\n0-9a-z-]{0,6}", drop in 0..12usize) {
        let mut text = include_str!("manifest/contract.toml").to_owned();
        let at = cut.min(text.len());
        let end = (at + drop).min(text.len());
        text.replace_range(at..end, &junk);
        match Manifest::parse(Some(&text), None) {
            Ok(manifest) => prop_assert_eq!(manifest.run.check(), Ok(()), "{}", text),
            Err(error) => prop_assert!(!error.faults().is_empty()),
        }
    }
}
