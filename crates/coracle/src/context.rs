//! What every command is given.

use coracle_client::Client;
use coracle_model::name::{AppName, ProjectName};
use coracle_model::problem::Code;

use crate::config;
use crate::error::{CliError, Result};
use crate::output::Printer;

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) printer: Printer,
    pub(crate) project: ProjectName,
}

impl Context {
    pub(crate) fn new(printer: Printer) -> Self {
        Self {
            printer,
            project: ProjectName::default_project(),
        }
    }

    pub(crate) fn in_project(self, project: ProjectName) -> Self {
        Self { project, ..self }
    }

    /// A client for the platform that is logged in to.
    pub(crate) fn client(&self) -> Result<Client> {
        config::client()
    }

    /// `error` of something that was asked of `app`: when there is no such app, the hint names the nearest one.
    pub(crate) async fn about_app(
        &self,
        client: &Client,
        app: &AppName,
        error: impl Into<CliError>,
    ) -> CliError {
        let error = error.into();
        if error.code != Some(Code::NotFound) || error.hint.is_some() {
            return error;
        }
        // A second failure says nothing that the first did not.
        let Ok(apps) = client.apps(&self.project).await else {
            return error;
        };
        let names: Vec<&str> = apps.iter().map(|app| app.metadata.name.as_str()).collect();
        if names.contains(&app.as_str()) {
            return error;
        }
        let hint = match nearest(app.as_str(), &names) {
            Some(name) => format!("did you mean {name}?"),
            None if names.is_empty() => format!("there are no apps in project {}", self.project),
            None => "`coracle apps` lists those that there are".to_owned(),
        };
        error.hint(hint)
    }
}

/// The name that `given` most likely was to be.
pub(crate) fn nearest<'n>(given: &str, names: &[&'n str]) -> Option<&'n str> {
    let likeness = |name: &str| strsim::jaro_winkler(given, name);
    let best = names
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.8).then_some(best)
}

/// `result` of something that was asked of an app, with the nearest name where there is no such app.
macro_rules! of_app {
    ($context:expr, $client:expr, $app:expr, $result:expr) => {
        match $result {
            Ok(done) => done,
            Err(error) => return Err($context.about_app($client, $app, error).await),
        }
    };
}
pub(crate) use of_app;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name() {
        assert_eq!(nearest("helo", &["shop", "hello"]), Some("hello"));
        assert_eq!(nearest("zzz", &["shop", "hello"]), None);
        assert_eq!(nearest("zzz", &[]), None);
    }
}
