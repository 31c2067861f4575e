//! `coracle.toml` and `Procfile`: what a source says about building and running itself.
//!
//! Theory of operation: both files are written by people, so every fault is collected, with its file, line,
//! column and key, and told at once; a person mends all of them in one go. The TOML is read into a tree that
//! keeps spans and is then walked by hand instead of through serde, because serde stops at the first fault
//! and knows no path. Each section asks for the keys that it knows; what is left over is an unknown key and is
//! refused with the nearest valid name, so that a typing error never becomes a setting that is silently
//! missing. The rules for values ([`rules`]) are the same that the API applies to a [`RunConfig`] it is sent.
//!
//! Where both files speak of one thing, `coracle.toml` wins, per field.

mod fault;
mod file;
mod procfile;
mod reader;
pub mod rules;

pub use fault::{Fault, ManifestError, ManifestFile};

use crate::name::{AppName, ProcessName};
use crate::release::{ProcessSpec, RunConfig};

/// What a source says about building and running itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// The app's name, unless whoever deploys says otherwise.
    pub app: Option<AppName>,
    /// How its image is made.
    pub build: BuildConfig,
    /// How it is run.
    pub run: RunConfig,
}

/// How an image is made from the source. Paths are relative to the source's folder, with `/` between names and
/// without `.` or `..`, so that they cannot leave it by themselves (links are for whoever opens them to check).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildConfig {
    /// The Dockerfile; `Dockerfile` when absent.
    pub dockerfile: Option<String>,
    /// The language recipe to use instead of a Dockerfile.
    pub runtime: Option<String>,
    /// The folder that is sent to the build; the whole source when absent.
    pub context: Option<String>,
}

impl Manifest {
    /// The name of the manifest in a source's folder.
    pub const FILE: &'static str = "coracle.toml";
    /// The name of the file that lists processes by line.
    pub const PROCFILE: &'static str = "Procfile";
    /// The most bytes that either file may have.
    pub const MOST_BYTES: usize = 256 * 1024;

    /// Reads the text of `coracle.toml` and of `Procfile`, each where it exists.
    ///
    /// # Errors
    /// [`ManifestError`] with every fault that was found in either.
    pub fn parse(toml: Option<&str>, procfile: Option<&str>) -> Result<Self, ManifestError> {
        let mut faults = Vec::new();
        let said = toml.map_or_else(file::Said::default, |text| file::read(text, &mut faults));
        let listed = procfile.map_or_else(procfile::Listed::default, |text| {
            procfile::read(text, &mut faults)
        });
        if !faults.is_empty() {
            return Err(ManifestError::new(faults));
        }
        let file::Said {
            app,
            build,
            mut run,
        } = said;
        for (name, command) in listed.processes {
            let process = run.processes.entry(name).or_default();
            process.command.get_or_insert(command);
        }
        if run.release_command.is_none() {
            run.release_command = listed.release;
        }
        if run.processes.is_empty() {
            run.processes
                .insert(ProcessName::web(), ProcessSpec::default());
        }
        Ok(Self { app, build, run })
    }
}
