//! What to build, and how what comes of it is run.
//!
//! Theory of operation: the folder comes from anybody. Its two manifest files are read with a bound, and every
//! path that they name is resolved to its end and must still be inside; only then is it told to an engine. The
//! folder must not change meanwhile: an unpacked one is private to the platform.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use coracle_model::manifest::Manifest;
use coracle_model::name::shown;

use crate::error::SourceError;
use crate::language;

/// What to build, and how what comes of it is run.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildPlan {
    /// What the source says about itself.
    pub manifest: Manifest,
    /// The folder that is sent to the build: absolute, without links in it.
    pub context: PathBuf,
    /// The Dockerfile, relative to `context`.
    pub dockerfile: PathBuf,
}

/// The Dockerfile's name unless the manifest says otherwise.
pub(crate) const DOCKERFILE: &str = "Dockerfile";

/// The most bytes of a Dockerfile.
const DOCKERFILE_BYTES: u64 = 1 << 20;

/// Plans the build of the source in `dir`. Blocks on the disk for a few small files.
///
/// # Errors
/// [`SourceError`] for a wrong manifest, or when nothing says how to build.
pub fn plan(dir: &Path) -> Result<BuildPlan, SourceError> {
    let root = dir.canonicalize().map_err(SourceError::Io)?;
    let manifest = read_manifest(&root)?;
    if let Some(runtime) = &manifest.build.runtime {
        return Err(SourceError::NoRuntime(runtime.clone()));
    }
    let context = match &manifest.build.context {
        None => root.clone(),
        Some(context) => {
            let path = inside(&root, &root, context)?;
            if !path.is_dir() {
                return Err(bad(context, "build.context is no folder"));
            }
            path
        }
    };
    let (base, name) = match &manifest.build.dockerfile {
        Some(name) => (&root, name.as_str()),
        None => (&context, DOCKERFILE),
    };
    if std::fs::symlink_metadata(base.join(name)).is_err() {
        return Err(no_dockerfile(&context, &manifest, name));
    }
    let path = inside(&root, base, name)?;
    let metadata = path.metadata().map_err(SourceError::Io)?;
    if !metadata.is_file() || metadata.len() == 0 || metadata.len() > DOCKERFILE_BYTES {
        return Err(bad(
            name,
            "a Dockerfile is a file of text with up to 1Mi, and not empty",
        ));
    }
    let Ok(dockerfile) = path.strip_prefix(&context) else {
        return Err(bad(name, "the Dockerfile must be inside build.context"));
    };
    Ok(BuildPlan {
        manifest,
        dockerfile: dockerfile.to_owned(),
        context,
    })
}

/// Reads `coracle.toml` and `Procfile` in `dir`, each where it exists.
///
/// # Errors
/// [`SourceError::Manifest`] with every fault, or [`SourceError::BadFile`] for what is no text.
pub fn read_manifest(dir: &Path) -> Result<Manifest, SourceError> {
    let root = dir.canonicalize().map_err(SourceError::Io)?;
    let toml = read_text(&root, Manifest::FILE, Manifest::MOST_BYTES)?;
    let procfile = read_text(&root, Manifest::PROCFILE, Manifest::MOST_BYTES)?;
    Manifest::parse(toml.as_deref(), procfile.as_deref()).map_err(SourceError::Manifest)
}

/// The text of `name` in `root` (which has no links in it); none when there is no such file.
pub(crate) fn read_text(
    root: &Path,
    name: &str,
    most: usize,
) -> Result<Option<String>, SourceError> {
    if std::fs::symlink_metadata(root.join(name)).is_err() {
        return Ok(None);
    }
    let path = inside(root, root, name)?;
    // Before it is opened: a pipe would block for ever.
    if !path.is_file() {
        return Err(bad(name, "this is no file"));
    }
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(most as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| bad(name, &format!("cannot be read: {error}")))?;
    if bytes.len() > most {
        return Err(bad(
            name,
            &format!("the file is too long: use up to {most} bytes"),
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(bad(name, "the file is no UTF-8 text")),
    }
}

/// `base/name` with all links resolved, when that is inside of `root`.
fn inside(root: &Path, base: &Path, name: &str) -> Result<PathBuf, SourceError> {
    match base.join(name).canonicalize() {
        Ok(path) if path.starts_with(root) => Ok(path),
        Ok(_) => Err(bad(name, "it leads out of the source's folder")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(bad(name, "there is no such file or folder in the source"))
        }
        Err(error) => Err(bad(name, &format!("it leads nowhere: {error}"))),
    }
}

fn bad(file: &str, reason: &str) -> SourceError {
    SourceError::BadFile {
        file: shown(file).trim_matches('"').to_owned(),
        reason: reason.to_owned(),
    }
}

fn no_dockerfile(context: &Path, manifest: &Manifest, name: &str) -> SourceError {
    let hint = match (&manifest.build.dockerfile, language::detect(context)) {
        (Some(_), _) => format!("build.dockerfile in {} names it", Manifest::FILE),
        (None, Some(language)) => format!(
            "this looks like a {} project; add a Dockerfile such as:\n\n{}",
            language.name, language.dockerfile
        ),
        (None, None) => {
            "add a Dockerfile to the folder, or name one with build.dockerfile in coracle.toml"
                .into()
        }
    };
    SourceError::NoDockerfile {
        dockerfile: name.to_owned(),
        hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn source(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    #[test]
    fn a_dockerfile_is_found_where_it_is_said_to_be() {
        let dir = source(&[("Dockerfile", "FROM x")]);
        let plan_ = plan(dir.path()).unwrap();
        assert_eq!(plan_.dockerfile, Path::new("Dockerfile"));
        assert_eq!(plan_.context, dir.path().canonicalize().unwrap());

        let dir = source(&[
            (
                "coracle.toml",
                "[build]\ncontext = \"app\"\ndockerfile = \"app/docker/File\"",
            ),
            ("app/docker/File", "FROM x"),
        ]);
        let plan_ = plan(dir.path()).unwrap();
        assert_eq!(plan_.dockerfile, Path::new("docker/File"));
        assert!(plan_.context.ends_with("app"));

        let dir = source(&[
            ("coracle.toml", "[build]\ncontext = \"app\""),
            ("app/Dockerfile", "FROM x"),
        ]);
        assert_eq!(
            plan(dir.path()).unwrap().dockerfile,
            Path::new("Dockerfile")
        );
    }

    #[test]
    fn without_a_dockerfile_the_language_is_named() {
        let dir = source(&[("requirements.txt", "flask")]);
        let problem = plan(dir.path()).unwrap_err().to_problem();
        assert_eq!(problem.status, 422);
        assert_eq!(problem.detail, "there is no \"Dockerfile\"");
        let hint = problem.hint.unwrap();
        assert!(
            hint.contains("looks like a Python project") && hint.contains("FROM debian:12"),
            "{hint}"
        );
        let dir = source(&[("x", "")]);
        assert!(matches!(
            plan(dir.path()),
            Err(SourceError::NoDockerfile { .. })
        ));
    }

    #[test]
    fn paths_that_lead_out_or_nowhere_are_refused() {
        let outside = source(&[("Dockerfile", "FROM x")]);
        let dir = source(&[("a", "")]);
        symlink(
            outside.path().join("Dockerfile"),
            dir.path().join("Dockerfile"),
        )
        .unwrap();
        let error = plan(dir.path()).unwrap_err();
        assert!(error.to_string().contains("leads out"), "{error}");

        symlink("/etc/passwd", dir.path().join("coracle.toml")).unwrap();
        let error = plan(dir.path()).unwrap_err();
        assert!(
            error.to_string().contains("coracle.toml: it leads out"),
            "{error}"
        );

        let dir = source(&[("a", "")]);
        symlink("b", dir.path().join("Dockerfile")).unwrap();
        assert!(matches!(plan(dir.path()), Err(SourceError::BadFile { .. })));

        for toml in ["[build]\ncontext = \"none\"", "[build]\ncontext = \"a\""] {
            let dir = source(&[("a", ""), ("Dockerfile", "FROM x"), ("coracle.toml", toml)]);
            assert!(
                matches!(plan(dir.path()), Err(SourceError::BadFile { .. })),
                "{toml}"
            );
        }
    }

    #[test]
    fn manifests_that_are_no_small_text_are_refused() {
        for content in [&b"\xff\xfe"[..], &vec![b'#'; Manifest::MOST_BYTES + 1]] {
            let dir = source(&[("Dockerfile", "FROM x")]);
            fs::write(dir.path().join("coracle.toml"), content).unwrap();
            assert!(matches!(plan(dir.path()), Err(SourceError::BadFile { .. })));
        }
        let dir = source(&[("Dockerfile", "FROM x"), ("coracle.toml", "prot = 1")]);
        let problem = plan(dir.path()).unwrap_err().to_problem();
        assert!(
            problem.detail.starts_with("coracle.toml:1:1: prot: "),
            "{}",
            problem.detail
        );
        let dir = source(&[
            ("Dockerfile", "FROM x"),
            ("coracle.toml", "[build]\nruntime = \"python\""),
        ]);
        assert!(matches!(plan(dir.path()), Err(SourceError::NoRuntime(_))));
        let dir = source(&[("Dockerfile", "")]);
        assert!(matches!(plan(dir.path()), Err(SourceError::BadFile { .. })));
    }
}
