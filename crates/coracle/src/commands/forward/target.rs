//! What is forwarded to.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use coracle_client::{Client, ClientError};
use coracle_model::name::{AppName, PodName};
use coracle_model::problem::Code;
use serde::Serialize;

use crate::context::{Context, nearest, of_app};
use crate::error::{CliError, Result};

/// What is forwarded to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Target {
    /// Pods of an app, as they come and go.
    App(AppName),
    /// One pod.
    Pod(PodName),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(name) => write!(f, "app {name}"),
            Self::Pod(name) => write!(f, "pod {name}"),
        }
    }
}

/// A name as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TargetName {
    kind: TargetKind,
    name: String,
}

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TargetKind {
    App,
    Pod,
    /// The app of this name, or else the pod.
    Either,
}

impl FromStr for TargetName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let (kind, name) = match text.split_once('/') {
            Some(("app" | "apps", name)) => (TargetKind::App, name),
            Some(("pod" | "pods", name)) => (TargetKind::Pod, name),
            _ => (TargetKind::Either, text),
        };
        Ok(Self {
            kind,
            name: name.to_owned(),
        })
    }
}

impl TargetName {
    /// What has this name.
    pub(super) async fn resolve(self, client: &Client, context: &Context) -> Result<Target> {
        let project = &context.project;
        match self.kind {
            TargetKind::App => {
                let app = AppName::new(self.name)?;
                of_app!(context, client, &app, client.app(project, &app).await);
                Ok(Target::App(app))
            }
            TargetKind::Pod => {
                let pod = PodName::new(self.name)?;
                client.pod(project, &pod).await?;
                Ok(Target::Pod(pod))
            }
            TargetKind::Either => {
                if let Ok(app) = AppName::new(self.name.clone())
                    && found(client.app(project, &app).await)?
                {
                    return Ok(Target::App(app));
                }
                let pod = PodName::new(self.name)?;
                if found(client.pod(project, &pod).await)? {
                    return Ok(Target::Pod(pod));
                }
                Err(nothing(client, context, pod.as_str()).await)
            }
        }
    }
}

fn found<T>(answer: Result<T, ClientError>) -> Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(error)
            if error
                .problem()
                .is_some_and(|problem| problem.code == Code::NotFound) =>
        {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// There is neither an app nor a pod of this name.
async fn nothing(client: &Client, context: &Context, name: &str) -> CliError {
    let project = &context.project;
    let error = CliError::new(format!(
        "there is no app or pod {name} in project {project}"
    ));
    let (Ok(apps), Ok(pods)) = (client.apps(project).await, client.pods(project).await) else {
        return error;
    };
    let names: Vec<&str> = apps
        .iter()
        .map(|app| app.metadata.name.as_str())
        .chain(pods.iter().map(|pod| pod.metadata.name.as_str()))
        .collect();
    error.hint(match nearest(name, &names) {
        Some(name) => format!("did you mean {name}?"),
        None => "`coracle apps` and `coracle ps` list those that there are".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_may_be_named() {
        let kinds = ["db", "app/db", "pods/db", "x/db"].map(|text| {
            let Ok(name) = text.parse::<TargetName>();
            (name.kind, name.name)
        });
        assert_eq!(
            kinds,
            [
                (TargetKind::Either, "db".to_owned()),
                (TargetKind::App, "db".to_owned()),
                (TargetKind::Pod, "db".to_owned()),
                (TargetKind::Either, "x/db".to_owned()),
            ]
        );
    }
}
