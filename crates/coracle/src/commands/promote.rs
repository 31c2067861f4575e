//! `coracle promote`: a release of one app becomes a release of another.

use std::str::FromStr;

use coracle_client::release::{MissingApp, NewRelease};
use coracle_model::name::{AppName, ProjectName};
use coracle_model::release::ReleaseNumber;

use crate::context::{Context, of_app};
use crate::error::Result;

use super::deploy::{follow, tell_name};

/// Release what another app runs, with that app's image and processes and this app's variables
#[derive(Debug, clap::Args)]
pub(crate) struct PromoteArgs {
    /// The app whose release it is, such as shop or shop@v3 [default: its live release]
    #[arg(value_name = "APP[@vN]")]
    from: From,
    /// The app to release it to; it is made where there is none
    #[arg(long, value_name = "APP")]
    to: AppName,
    /// The project of that app [default: the same]
    #[arg(long, value_name = "PROJECT")]
    to_project: Option<ProjectName>,
    /// Return without waiting until it is live
    #[arg(long)]
    no_wait: bool,
}

/// A release of an app, as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct From {
    app: AppName,
    release: Option<ReleaseNumber>,
}

impl FromStr for From {
    type Err = coracle_model::name::InvalidName;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let (app, release) = match text.split_once('@') {
            Some((app, release)) => (app, Some(release.parse()?)),
            None => (text, None),
        };
        Ok(Self {
            app: AppName::new(app)?,
            release,
        })
    }
}

pub(crate) async fn run(args: PromoteArgs, context: &Context) -> Result {
    let from = context.project.clone();
    let there = args
        .to_project
        .map(|project| Context::new(context.printer).in_project(project));
    let context = there.as_ref().unwrap_or(context);
    let client = context.client()?;
    let app = &args.to;
    let new = NewRelease::Promote {
        project: from,
        app: args.from.app,
        release: args.from.release,
    };
    let asked = client
        .create_release(&context.project, app, &new, MissingApp::Create)
        .await;
    let release = of_app!(context, &client, app, asked);
    if args.no_wait {
        return tell_name(context, &release, &release.metadata.name);
    }
    follow(context, &client, app, &release).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_an_app_with_or_without_a_number() {
        let read = |text: &str| text.parse::<From>();
        assert_eq!(read("shop").unwrap().release, None);
        assert_eq!(read("shop@v3").unwrap().release, Some(ReleaseNumber(3)));
        assert!(read("shop@").is_err() && read("@v3").is_err() && read("shop@0").is_err());
    }
}
