//! `coracle releases` and `rollback`.

use chrono::Utc;
use coracle_client::release::{MissingApp, NewRelease};
use coracle_model::name::AppName;
use coracle_model::release::{Origin, Release, ReleaseNumber};

use crate::context::{Context, of_app};
use crate::error::Result;
use crate::table::{Cell, Table, age};

use super::deploy::{follow, tell_name};

/// List an app's releases
#[derive(Debug, clap::Args)]
pub(crate) struct ReleasesArgs {
    /// The app
    app: AppName,
}

/// Release an earlier release again
#[derive(Debug, clap::Args)]
pub(crate) struct RollbackArgs {
    /// The app
    app: AppName,
    /// The release, such as v3 [default: the one before]
    release: Option<ReleaseNumber>,
    /// Return without waiting until it is live
    #[arg(long)]
    no_wait: bool,
}

pub(crate) async fn list(args: ReleasesArgs, context: &Context) -> Result {
    let client = context.client()?;
    let app = &args.app;
    let mut releases = of_app!(
        context,
        &client,
        app,
        client.releases(&context.project, app).await
    );
    releases.reverse();
    context.printer.list(releases, table)
}

pub(crate) async fn roll_back(args: RollbackArgs, context: &Context) -> Result {
    let client = context.client()?;
    let app = &args.app;
    let new = args
        .release
        .map_or(NewRelease::Previous, NewRelease::Rollback);
    let asked = client
        .create_release(&context.project, app, &new, MissingApp::Refuse)
        .await;
    let release = of_app!(context, &client, app, asked);
    if args.no_wait {
        return tell_name(context, &release, &release.metadata.name);
    }
    follow(context, &client, app, &release).await
}

fn table(releases: &[Release]) -> Table {
    let mut table = Table::new(
        &["RELEASE", "PHASE", "FROM", "AGE", "BY", "IMAGE", "REASON"],
        "this app has no releases",
    );
    let now = Utc::now();
    for release in releases {
        table.row(vec![
            (&release.metadata.name).into(),
            Cell::phase(&release.status.phase),
            from(&release.spec.origin).into(),
            age(release.metadata.created, now).into(),
            (&release.spec.created_by).into(),
            short(release.spec.image.as_str()).into(),
            release.status.reason.clone().unwrap_or_default().into(),
        ]);
    }
    table
}

fn from(origin: &Origin) -> String {
    match origin {
        Origin::Build { build } => format!("build b{build}"),
        Origin::Image => "image".to_owned(),
        Origin::Rollback { release } => format!("rollback to {release}"),
        Origin::Config { release } => format!("{release}, other variables"),
        Origin::Promotion {
            project,
            app,
            release,
        } => format!("{release} of {project}/{app}"),
    }
}

/// A digest without most of its digits: nobody compares them by eye.
fn short(image: &str) -> String {
    const DIGITS: usize = 12;
    match image.split_once("sha256:") {
        Some((before, digest)) if digest.len() > DIGITS && digest.is_ascii() => {
            format!("{before}sha256:{}", &digest[..DIGITS])
        }
        _ => image.to_owned(),
    }
}
