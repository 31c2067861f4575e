//! `coracle deploy`: from a folder, a repository, a template or an image to a URL.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use coracle_builder::plan::read_manifest;
use coracle_builder::{Limits, scan};
use coracle_client::Client;
use coracle_client::release::{MissingApp, NewRelease};
use coracle_client::source::NewSource;
use coracle_model::build::{Build, BuildPhase};
use coracle_model::name::{AppName, ImageRef};
use coracle_model::release::{Release, ReleaseNumber};
use coracle_model::source::TemplateName;
use futures::StreamExt as _;

use crate::context::Context;
use crate::error::{CliError, Result};
use crate::output::{Format, Progress};
use crate::table::bytes;

use super::rollout::{self, goes_on};
use super::source::{self, GitPlace};

/// So many of the last lines of a build that failed are shown.
const LAST_LINES: usize = 20;
/// The step of a line of a build's log that tells how far the push is.
const PUSH: &str = "push";

/// Deploy a folder, a Git repository, a template or an image, and wait until it is live
#[derive(Debug, clap::Args)]
pub(crate) struct DeployArgs {
    /// The folder with the source [default: the present folder]
    path: Option<PathBuf>,
    /// The app [default: what coracle.toml says, else the folder's or image's name]
    #[arg(long, value_name = "APP")]
    app: Option<AppName>,
    /// Deploy this image instead of building a source; a PATH is then only read for its coracle.toml
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["git", "template"])]
    image: Option<ImageRef>,
    /// Deploy from a Git repository: https://HOST/PATH, then #BRANCH or a tag or commit, then :FOLDER; user and password
    /// come from CORACLE_GIT_USER and CORACLE_GIT_PASSWORD
    #[arg(long, value_name = "URL#REF", conflicts_with_all = ["path", "template"])]
    git: Option<GitPlace>,
    /// Deploy a template; `coracle templates` lists them
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "path")]
    template: Option<TemplateName>,
    /// Return as soon as the platform has taken it
    #[arg(long)]
    no_wait: bool,
}

pub(crate) async fn run(args: DeployArgs, context: &Context) -> Result {
    let client = context.client()?;
    let mut progress = context.printer.progress("preparing");
    let (app, number) = match &args.image {
        Some(image) => from_image(&args, image, context, &client, &mut progress).await?,
        None => {
            let (app, build) = match wanted_source(&args) {
                Some(new) => {
                    let wanted = args.app.clone();
                    source::build(&new, wanted, context, &client, &mut progress).await?
                }
                None => from_folder(&args, context, &client, &mut progress).await?,
            };
            if args.no_wait {
                progress.end();
                return tell_name(context, &build, &build.metadata.name);
            }
            let build = wait_build(&build, &app, context, &client, &mut progress).await?;
            let number = build.status.release.ok_or_else(|| {
                CliError::new(format!(
                    "build {} of {app} made no release",
                    build.metadata.name
                ))
            })?;
            (app, number)
        }
    };
    if args.no_wait {
        progress.end();
        let release = client.release(&context.project, &app, number).await?;
        return tell_name(context, &release, &release.metadata.name);
    }
    let waited = rollout::wait(context, &client, &app, number, &mut progress).await;
    progress.end();
    let release = waited?;
    if context.printer.format() == Format::Json {
        return context.printer.json(&release);
    }
    context
        .printer
        .note(&format!("release {number} of {app} is live"))?;
    tell_url(context, &client, &app).await
}

/// The source that the platform is to fetch, if it is one.
fn wanted_source(args: &DeployArgs) -> Option<NewSource> {
    match (&args.git, &args.template) {
        (Some(place), _) => Some(place.source()),
        (None, Some(template)) => Some(NewSource::Template(template.clone())),
        (None, None) => None,
    }
}

async fn from_folder(
    args: &DeployArgs,
    context: &Context,
    client: &Client,
    progress: &mut Progress,
) -> Result<(AppName, Build)> {
    let path = args.path.clone().unwrap_or_else(|| PathBuf::from("."));
    let app = match args.app.clone() {
        Some(app) => app,
        None => app_of_folder(&path)?,
    };
    let build = upload(&path, &app, context, client, progress).await?;
    Ok((app, build))
}

/// Waits with progress until a release that was just asked for is live, and then tells it: the app's URL, or the release as
/// JSON.
pub(crate) async fn follow(
    context: &Context,
    client: &Client,
    app: &AppName,
    release: &Release,
) -> Result {
    let number = release.spec.number;
    let mut progress = context
        .printer
        .progress(&format!("release {number} of {app}"));
    let waited = rollout::wait(context, client, app, number, &mut progress).await;
    progress.end();
    let live = waited?;
    context
        .printer
        .done(&format!("release {number} of {app} is live"))?;
    match context.printer.format() {
        Format::Json => context.printer.json(&live),
        Format::Table => tell_url(context, client, app).await,
    }
}

/// The app's URL, on a line of its own.
async fn tell_url(context: &Context, client: &Client, app: &AppName) -> Result {
    match client.app(&context.project, app).await?.status.url {
        Some(url) => context.printer.line(&url),
        None => context
            .printer
            .note(&format!("{app} has no web process, and so no URL")),
    }
}

/// What was asked for and is not waited for.
pub(crate) fn tell_name(context: &Context, object: &impl serde::Serialize, name: &str) -> Result {
    match context.printer.format() {
        Format::Json => context.printer.json(object),
        Format::Table => context.printer.line(name),
    }
}

async fn from_image(
    args: &DeployArgs,
    image: &ImageRef,
    context: &Context,
    client: &Client,
    progress: &mut Progress,
) -> Result<(AppName, ReleaseNumber)> {
    let manifest = match &args.path {
        Some(path) => Some(read_manifest(path).map_err(|error| refused(&error.to_problem()))?),
        None => None,
    };
    let named = args
        .app
        .clone()
        .or_else(|| manifest.as_ref().and_then(|manifest| manifest.app.clone()));
    let app = match (named, &args.path) {
        (Some(app), _) => app,
        (None, Some(path)) => app_of_folder(path)?,
        (None, None) => app_of_image(image)?,
    };
    progress.say(&format!("releasing {image}"));
    let new = NewRelease::Image {
        image: image.clone(),
        config: manifest.map(|manifest| manifest.run),
    };
    let release = client
        .create_release(&context.project, &app, &new, MissingApp::Create)
        .await?;
    Ok((app, release.spec.number))
}

async fn upload(
    path: &Path,
    app: &AppName,
    context: &Context,
    client: &Client,
    progress: &mut Progress,
) -> Result<Build> {
    let folder = path.to_owned();
    let found = tokio::task::spawn_blocking(move || scan(&folder, &Limits::default()))
        .await
        .map_err(|error| CliError::caused("the folder cannot be read", &error))?
        .map_err(|error| CliError::new(error.to_string()))?;
    for skipped in &found.skipped {
        progress.keep(&format!("left out {}: {}", skipped.path, skipped.why));
    }
    let (files, total) = (found.files, found.bytes);
    progress.say(&format!("uploading {files} files, {}", bytes(total)));
    let bar = progress.bytes(total);
    let shown = bar.clone();
    let uploading = client.upload(
        &context.project,
        app,
        found,
        MissingApp::Create,
        move |done| {
            shown.set_position(done.bytes);
        },
    );
    let uploaded = tokio::select! {
        uploaded = uploading => uploaded,
        _ = tokio::signal::ctrl_c() => {
            progress.resume(&bar);
            return Err(CliError { status: 130, ..CliError::new("interrupted: nothing was deployed") });
        }
    };
    progress.resume(&bar);
    Ok(uploaded?)
}

async fn wait_build(
    build: &Build,
    app: &AppName,
    context: &Context,
    client: &Client,
    progress: &mut Progress,
) -> Result<Build> {
    let number = build.spec.number;
    progress.say(&format!("build b{number} is queued"));
    let mut last: VecDeque<String> = VecDeque::with_capacity(LAST_LINES);
    let following = async {
        let mut lines = client.follow_build_log(&context.project, app, number);
        let mut pushed = Percent::default();
        while let Some(line) = lines.next().await {
            let line = line?;
            if line.step.as_deref() == Some(PUSH) {
                if let Some(text) = pushed.tell(&line.text) {
                    progress.say(&text);
                }
                continue;
            }
            for text in line.text.lines() {
                match &line.state {
                    Some(_state) => progress.say(text),
                    None => progress.detail(text),
                }
                if last.len() == LAST_LINES {
                    last.pop_front();
                }
                last.push_back(text.to_owned());
            }
        }
        let mut stages = client.wait_build(&context.project, app, number);
        let mut ended = None;
        while let Some(stage) = stages.next().await {
            ended = Some(stage?);
        }
        Ok::<_, CliError>(ended)
    };
    let ended = tokio::select! {
        ended = following => ended?,
        _ = tokio::signal::ctrl_c() => {
            let follow = format!("coracle builds log {app} {number} -f; coracle releases");
            return Err(goes_on(app, &format!("build b{number}"), &follow));
        }
    };
    let Some(ended) = ended else {
        return Err(CliError::new(format!(
            "nothing was told of build b{number}"
        )));
    };
    let reason = ended
        .status
        .reason
        .as_deref()
        .unwrap_or("no reason is known");
    match ended.status.phase {
        BuildPhase::Succeeded => Ok(ended),
        BuildPhase::Cancelled => Err(CliError::new(format!(
            "build b{number} of {app} was cancelled: {reason}"
        ))),
        BuildPhase::Queued | BuildPhase::Running | BuildPhase::Failed => {
            let mut message = format!("build b{number} of {app} failed: {reason}");
            // Elsewhere than on a terminal they were all told already.
            for line in last.iter().filter(|_| progress.is_redrawn()) {
                message.push_str("\n  | ");
                message.push_str(line);
            }
            Err(CliError::new(message).hint(format!(
                "`coracle builds log {app} {number}` has the whole log"
            )))
        }
    }
}

/// How far the push of an image is, in steps that are worth a line.
#[derive(Debug, Default)]
struct Percent(Option<u64>);

impl Percent {
    const STEP: u64 = 25;

    /// `text` is the bytes that are done and those in all, with a slash between.
    fn tell(&mut self, text: &str) -> Option<String> {
        let (done, total) = text.split_once('/')?;
        let (done, total): (u64, u64) = (done.trim().parse().ok()?, total.trim().parse().ok()?);
        let step = done.saturating_mul(100) / total.max(1) / Self::STEP * Self::STEP;
        if self.0.is_some_and(|before| step <= before) {
            return None;
        }
        self.0 = Some(step);
        Some(format!("pushing the image, {step} % of {}", bytes(total)))
    }
}

fn refused(problem: &coracle_model::problem::Problem) -> CliError {
    CliError::from(problem.clone())
}

/// What `coracle.toml` says, else the folder's name.
fn app_of_folder(path: &Path) -> Result<AppName> {
    let root = path
        .canonicalize()
        .map_err(|error| CliError::caused(format!("{} cannot be read", path.display()), &error))?;
    if !root.is_dir() {
        return Err(CliError::new(format!("{} is no folder", path.display()))
            .hint("name the folder that has the Dockerfile"));
    }
    let manifest = read_manifest(&root).map_err(|error| refused(&error.to_problem()))?;
    if let Some(app) = manifest.app {
        return Ok(app);
    }
    let name = root
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    named_after(name, "folder")
}

/// The last part of the image's path.
fn app_of_image(image: &ImageRef) -> Result<AppName> {
    let path = image.as_str().split('@').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let name = last.split(':').next().unwrap_or_default();
    if name == "sha256" {
        return Err(
            CliError::usage("this image has no name to call the app after")
                .hint("name the app with --app"),
        );
    }
    named_after(name, "image")
}

/// A valid name made of one that may not be.
fn named_after(name: &str, what: &str) -> Result<AppName> {
    AppName::suggested(name).ok_or_else(|| {
        let shown = coracle_model::name::shown(name);
        CliError::usage(format!("the {what}'s name {shown} makes no app name"))
            .hint("name the app with --app")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_folder_makes_a_valid_name() {
        let made = |name: &str| named_after(name, "folder").map(|app| app.to_string()).ok();
        assert_eq!(made("hello").as_deref(), Some("hello"));
        assert_eq!(made("My Shop_2.0").as_deref(), Some("my-shop-2-0"));
        assert_eq!(made("2048-game!").as_deref(), Some("game"));
        assert_eq!(made("-x-").as_deref(), Some("x"));
        assert_eq!(made(&"a".repeat(40)).map(|name| name.len()), Some(30));
        assert_eq!(made("2048"), None);
        assert_eq!(made(""), None);
    }

    #[test]
    fn a_push_is_told_in_few_steps() {
        let mut percent = Percent::default();
        let told: Vec<String> = [0, 10, 30, 49, 80, 100]
            .into_iter()
            .filter_map(|done| percent.tell(&format!("{done}/100")))
            .collect();
        assert_eq!(
            told,
            [0, 25, 75, 100].map(|step| format!("pushing the image, {step} % of 100 B"))
        );
        assert_eq!(percent.tell("nonsense"), None);
    }

    #[test]
    fn an_image_names_its_app() {
        let made = |image: &str| {
            let image = ImageRef::new(image).unwrap();
            app_of_image(&image).map(|app| app.to_string()).ok()
        };
        assert_eq!(made("nginx:1.27").as_deref(), Some("nginx"));
        assert_eq!(
            made("localhost:5000/team/web-shop").as_deref(),
            Some("web-shop")
        );
        assert_eq!(made("coracle-test:1").as_deref(), Some("coracle-test"));
        assert_eq!(made(&format!("sha256:{}", "a".repeat(64))), None);
    }
}
