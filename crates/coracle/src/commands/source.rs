//! Sources that the platform fetches itself: the first half of `coracle deploy --git` and `--template`.

use std::str::FromStr;

use coracle_client::Client;
use coracle_client::release::MissingApp;
use coracle_client::source::NewSource;
use coracle_model::build::Build;
use coracle_model::env::Secret;
use coracle_model::name::AppName;
use coracle_model::release::RunChange;
use coracle_model::source::{
    Detected, GitOrigin, GitRef, GitUrl, Source, SourceId, SourcePath, SourcePhase,
};
use futures::StreamExt as _;

use crate::context::Context;
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::output::Progress;
use crate::table::bytes;

/// A repository as it is written on the command line: `URL`, `URL#REF`, `URL#REF:FOLDER` or `URL#:FOLDER`.
#[derive(Clone, Debug)]
pub(crate) struct GitPlace(GitOrigin);

impl FromStr for GitPlace {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (url, rest) = text.split_once('#').unwrap_or((text, ""));
        let (reference, path) = rest.split_once(':').unwrap_or((rest, ""));
        let told = |error: coracle_model::name::InvalidName| error.to_string();
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(Self(GitOrigin {
            url: GitUrl::new(url).map_err(told)?,
            reference: some(reference).map(GitRef::new).transpose().map_err(told)?,
            path: some(path).map(SourcePath::new).transpose().map_err(told)?,
        }))
    }
}

impl GitPlace {
    /// With the credentials of the environment: arguments can be seen by others.
    pub(crate) fn source(&self) -> NewSource {
        NewSource::Git {
            origin: self.0.clone(),
            username: env_vars::read(env_vars::GIT_USER),
            password: env_vars::read(env_vars::GIT_PASSWORD).map(Secret::new),
        }
    }
}

/// Has the platform fetch a source, tells what it found, and asks for its build.
pub(crate) async fn build(
    new: &NewSource,
    app: Option<AppName>,
    context: &Context,
    client: &Client,
    progress: &mut Progress,
) -> Result<(AppName, Build)> {
    progress.say("fetching the source");
    let source = client.create_source(&context.project, new).await?;
    let id = SourceId::new(source.metadata.name.clone())
        .map_err(|error| CliError::caused("the platform's answer cannot be understood", &error))?;
    let waiting = async {
        let mut stages = client.wait_source(&context.project, &id);
        let mut last = source;
        while let Some(stage) = stages.next().await {
            last = stage?;
        }
        Ok::<_, CliError>(last)
    };
    let source = tokio::select! {
        source = waiting => source?,
        _ = tokio::signal::ctrl_c() => {
            // Nobody waits for it any more; what is left of it goes by itself.
            drop(client.delete_source(&context.project, &id).await);
            return Err(CliError { status: 130, ..CliError::new("interrupted: nothing was deployed") });
        }
    };
    let detected = check(&source)?;
    tell(&source, &detected, progress);
    let app = app.or(detected.app).ok_or_else(|| {
        CliError::usage("the source does not say what the app is called").hint("name it with --app")
    })?;
    let build = client
        .build_source(
            &context.project,
            &app,
            &id,
            &RunChange::default(),
            MissingApp::Create,
        )
        .await?;
    Ok((app, build))
}

/// What was found in a source that can be built.
fn check(source: &Source) -> Result<Detected> {
    let status = &source.status;
    if status.phase != SourcePhase::Ready {
        let reason = status.reason.as_deref().unwrap_or("no reason is known");
        return Err(CliError::new(format!(
            "the source could not be fetched: {reason}"
        )));
    }
    let detected = status.detected.clone().unwrap_or_default();
    match detected.problem {
        None => Ok(detected),
        Some(problem) => {
            let error = CliError::new(format!("the source cannot be built: {}", problem.detail));
            Err(match problem.hint {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
    }
}

fn tell(source: &Source, detected: &Detected, progress: &mut Progress) {
    if let Some(commit) = &source.status.commit {
        let id: String = commit.id.chars().take(12).collect();
        progress.keep(&format!(
            "commit {id} of {}: {}",
            commit.author, commit.subject
        ));
    }
    for warning in &detected.warnings {
        progress.keep(&format!("warning: {warning}"));
    }
    let (files, size) = (source.status.files, bytes(source.status.bytes));
    progress.say(&format!("fetched {files} files, {size}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_a_reference_and_a_folder() {
        let parse = |text: &str| {
            let GitPlace(origin) = text.parse()?;
            Ok::<_, String>((
                origin.url.to_string(),
                origin.reference.map(|it| it.to_string()),
                origin.path.map(|it| it.to_string()),
            ))
        };
        let url = "https://git.example.com/team/app.git".to_owned();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parse(&url), Ok((url.clone(), None, None)));
        assert_eq!(parse(&format!("{url}#")), Ok((url.clone(), None, None)));
        assert_eq!(
            parse(&format!("{url}#v1")),
            Ok((url.clone(), some("v1"), None))
        );
        assert_eq!(
            parse(&format!("{url}#v1:web/app")),
            Ok((url.clone(), some("v1"), some("web/app")))
        );
        assert_eq!(
            parse(&format!("{url}#:web")),
            Ok((url.clone(), None, some("web")))
        );
        for bad in [
            "app",
            "https://user:hush@x.io/a",
            "https://x.io/a#-x",
            "https://x.io/a#a:../b",
        ] {
            let told = parse(bad).unwrap_err();
            assert!(!told.contains("hush"), "{told}");
        }
    }
}
