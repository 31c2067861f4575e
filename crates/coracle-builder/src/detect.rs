//! What is found in a source before anybody builds it.
//!
//! Theory of operation: the archive is unpacked by the rules that hold for a build, so what is refused here would be
//! refused there, and the build is planned as it would be. A source that cannot be built is no failure: what is missing is
//! told, with what could be read all the same. Dockerfiles are only glanced at, line by line: what is not plain is not told.

use std::collections::BTreeSet;
use std::path::Path;

use coracle_model::manifest::Manifest;
use coracle_model::name::{AppName, ProcessName};
use coracle_model::problem::{Code, Problem};
use coracle_model::source::{Detected, SourceProblem};
use tokio::io::AsyncRead;

use crate::error::SourceError;
use crate::language;
use crate::limits::Limits;
use crate::plan::{BuildPlan, plan, read_manifest, read_text};
use crate::unpack::{Unpacked, unpack};

/// The most bytes of files that are looked into.
const MOST_TEXT: usize = 1 << 20;

/// A source that was looked through.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspected {
    /// How much it is.
    pub unpacked: Unpacked,
    /// What was found.
    pub detected: Detected,
}

/// Unpacks an archive into `dir` (missing or empty, and for the caller to remove) and looks through it.
///
/// # Errors
/// [`SourceError`] when it cannot be unpacked.
pub async fn inspect<R>(archive: R, dir: &Path, limits: Limits) -> Result<Inspected, SourceError>
where
    R: AsyncRead + Send + Unpin + 'static,
{
    let unpacked = unpack(archive, dir, limits).await?;
    let dir = dir.to_owned();
    let detected = tokio::task::spawn_blocking(move || detect(&dir))
        .await
        .map_err(|panic| SourceError::Io(std::io::Error::other(panic)))?;
    Ok(Inspected { unpacked, detected })
}

/// Looks through an unpacked source. Blocks on the disk for a few small files.
#[must_use]
pub fn detect(dir: &Path) -> Detected {
    let mut found = Detected::default();
    let planned = plan(dir);
    let context = match &planned {
        Ok(plan) => plan.context.clone(),
        Err(_) => dir.to_owned(),
    };
    found.language = language::detect(&context).map(|language| language.name.to_owned());
    match planned {
        Ok(plan) => {
            let text = dockerfile(&plan);
            found.dockerfile = shown_dockerfile(dir, &plan);
            take(&mut found, plan.manifest);
            note_dockerfile(&mut found, &text.unwrap_or_default());
        }
        Err(error) => {
            if let Ok(manifest) = read_manifest(dir) {
                take(&mut found, manifest);
            }
            found.problem = Some(problem(error.to_problem()));
        }
    }
    note_files(&mut found, dir, &context);
    found
}

/// An error that is the platform's own is not told in its words.
fn problem(problem: Problem) -> SourceProblem {
    if problem.code == Code::Internal {
        return Problem::new(Code::Internal, "the source could not be looked through").into();
    }
    problem.into()
}

fn take(found: &mut Detected, manifest: Manifest) {
    found.app = manifest.app;
    found.port = manifest
        .run
        .processes
        .get(&ProcessName::web())
        .and_then(|web| web.port);
    found.processes = manifest.run.processes;
    found.env = manifest.run.env;
    found.volumes = manifest.run.volumes;
    found.release_command = manifest.run.release_command;
}

fn dockerfile(plan: &BuildPlan) -> Option<String> {
    let name = plan.dockerfile.to_str()?;
    read_text(&plan.context, name, MOST_TEXT).ok().flatten()
}

fn shown_dockerfile(dir: &Path, plan: &BuildPlan) -> Option<String> {
    let root = dir.canonicalize().ok()?;
    let path = plan.context.join(&plan.dockerfile);
    Some(path.strip_prefix(root).ok()?.to_str()?.to_owned())
}

fn note_dockerfile(found: &mut Detected, text: &str) {
    // The image's port is that of `web` alone.
    let ports = match found.processes.contains_key(&ProcessName::web()) {
        true => exposed(text),
        false => Vec::new(),
    };
    if let (None, [port]) = (found.port, ports.as_slice()) {
        found.port = Some(*port);
    }
    if let (None, [_, _, ..]) = (found.port, ports.as_slice()) {
        let all: Vec<String> = ports.iter().map(ToString::to_string).collect();
        found.warnings.push(format!(
            "the Dockerfile exposes several ports ({}): set the one of the web process",
            all.join(", ")
        ));
    }
    let frontend = text
        .lines()
        .take_while(|line| line.trim_start().starts_with('#'))
        .any(|line| {
            line.replace(' ', "")
                .to_ascii_lowercase()
                .starts_with("#syntax=")
        });
    if frontend {
        found.warnings.push(
            "the Dockerfile begins with a `# syntax=` line: its image is fetched for each build"
                .into(),
        );
    }
}

/// The TCP ports that the last stage of a Dockerfile names.
fn exposed(text: &str) -> Vec<u16> {
    let mut ports = BTreeSet::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(instruction) = words.next() else {
            continue;
        };
        if instruction.eq_ignore_ascii_case("FROM") {
            ports.clear();
        } else if instruction.eq_ignore_ascii_case("EXPOSE") {
            ports.extend(words.filter_map(|word| {
                let word = word.strip_suffix("/tcp").unwrap_or(word);
                word.parse::<u16>().ok().filter(|port| *port > 0)
            }));
        }
    }
    ports.into_iter().collect()
}

/// Files that say that something will be otherwise than people expect.
fn note_files(found: &mut Detected, dir: &Path, context: &Path) {
    let is_file = |path: &Path| {
        path.symlink_metadata()
            .is_ok_and(|metadata| metadata.is_file())
    };
    let ignored = read_text(context, ".dockerignore", MOST_TEXT)
        .ok()
        .flatten();
    let ignores = |name: &str| {
        ignored.as_deref().is_some_and(|text| {
            text.lines().any(|line| {
                matches!(line.trim().trim_matches('/'), rule if rule == name || rule == format!("**/{name}") || rule == ".env*")
            })
        })
    };
    if is_file(&context.join(".env")) && !ignores(".env") {
        found.warnings.push(
            "there is a .env file, which would be in the image for everybody who can pull it: name it in .dockerignore, and set its values as variables of the app".into(),
        );
    }
    if context.join("node_modules").is_dir() && !ignores("node_modules") {
        found.warnings.push(
            "node_modules is part of the source: name it in .dockerignore, and the build will be faster".into(),
        );
    }
    if is_file(&dir.join(".gitmodules")) {
        found.warnings.push(
            "the repository has submodules, which are not fetched: their folders are empty".into(),
        );
    }
    let attributes = read_text(dir, ".gitattributes", MOST_TEXT).ok().flatten();
    if attributes.is_some_and(|text| text.contains("filter=lfs")) {
        found.warnings.push(
            "the repository keeps files in Git LFS, which are not fetched: the source has their pointers".into(),
        );
    }
}

/// A name for the app that a text suggests (of a repository, a folder), where the source itself says none.
pub fn suggest(found: &mut Detected, text: &str) {
    if found.app.is_none() {
        found.app = AppName::suggested(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn found(files: &[(&str, &str)]) -> Detected {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        detect(dir.path())
    }

    #[test]
    fn what_would_be_run_is_told() {
        let found = found(&[
            (
                "Dockerfile",
                "FROM a AS build\nEXPOSE 1\nFROM debian:12\nEXPOSE 3000/tcp\n",
            ),
            (
                "coracle.toml",
                "app = \"shop\"\nrelease = \"prepare\"\n[env]\nMODE = \"x\"\n[process.worker]\ncommand = \"work\"\n[process.web]\n",
            ),
            ("package.json", "{}"),
        ]);
        assert_eq!(found.problem, None);
        assert_eq!(found.app.unwrap().as_str(), "shop");
        assert_eq!(found.dockerfile.as_deref(), Some("Dockerfile"));
        assert_eq!(found.language.as_deref(), Some("Node.js"));
        assert_eq!(found.port, Some(3000));
        assert_eq!(found.processes.len(), 2);
        assert_eq!(found.env.len(), 1);
        assert_eq!(found.warnings, Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_told_with_what_there_is() {
        let found = found(&[("requirements.txt", "flask"), ("Procfile", "web: serve\n")]);
        let problem = found.problem.unwrap();
        assert_eq!(problem.code, Code::InvalidSource);
        assert!(problem.hint.unwrap().contains("Python"));
        assert_eq!(found.language.as_deref(), Some("Python"));
        assert!(found.processes[&ProcessName::web()].command.is_some());
    }

    #[test]
    fn a_wrong_manifest_is_told() {
        let found = found(&[("Dockerfile", "FROM x"), ("coracle.toml", "prot = 1")]);
        let problem = found.problem.unwrap();
        assert_eq!(problem.code, Code::InvalidManifest);
        assert!(problem.detail.contains("prot"), "{problem:?}");
    }

    #[test]
    fn what_may_surprise_is_told() {
        let all = [
            (
                "Dockerfile",
                "# syntax=docker/dockerfile:1\nFROM x\nEXPOSE 1 2 $PORT 53/udp\n",
            ),
            (".env", "SECRET=1"),
            ("node_modules/a", ""),
            (".gitmodules", ""),
            (".gitattributes", "*.bin filter=lfs"),
        ];
        let found_ = found(&all);
        assert_eq!(found_.warnings.len(), 6, "{:#?}", found_.warnings);
        assert_eq!(found_.port, None);
        let quiet = [
            all[1],
            all[2],
            ("Dockerfile", "FROM x"),
            (".dockerignore", ".env\nnode_modules/\n"),
        ];
        assert_eq!(found(&quiet).warnings, Vec::<String>::new());
    }
}
