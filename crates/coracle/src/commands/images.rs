//! `coracle images`: what the registry has, and what of it goes.

use clap::Subcommand;
use coracle_client::image::Earlier;
use coracle_model::image::{ImageDetail, ImageStep, ImageTag, ImageUse, Live, Repository};
use coracle_model::quantity::Span;
use coracle_model::registry::{CollectionPhase, CollectionStatus};

use crate::context::Context;
use crate::error::{CliError, Result};
use crate::table::{Cell, Table, Tone, age, bytes};

use super::terminal::confirm;

/// The most of an instruction that stands in a table.
const INSTRUCTION: usize = 100;

/// List the registry's repositories, or the images of one
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ImagesArgs {
    /// A repository, such as default/hello
    repository: Option<String>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show an image: its layers, its history, who uses it
    Show {
        /// The image, such as default/hello:v1 or default/hello@sha256:…
        reference: Reference,
    },
    /// Delete a tag, or an image by its digest
    Delete {
        /// The image, such as default/hello:v1 or default/hello@sha256:…
        reference: Reference,
        /// Also an image that releases can be rolled back to
        #[arg(long)]
        force: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Remove what no tag, release or pod needs, as happens once a day by itself
    Collect {
        /// What is younger stays, such as 10m [default: 1h]
        #[arg(long, value_name = "AGE")]
        min_age: Option<Span>,
    },
    /// Show how much the registry holds
    Usage,
}

/// An image, as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reference {
    repository: String,
    reference: String,
}

impl std::str::FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        // What `docker pull` takes begins with a host.
        let path = match text.split_once('/') {
            Some((host, path)) if host.contains([':', '.']) || host == "localhost" => path,
            _ => text,
        };
        let (repository, reference) = match path.split_once('@') {
            Some((named, digest)) => {
                let (repository, _tag) = named.rsplit_once(':').unwrap_or((named, ""));
                (repository, digest)
            }
            None => path.rsplit_once(':').unwrap_or((path, "latest")),
        };
        if repository.is_empty() || reference.is_empty() {
            return Err("use one such as default/hello:v1".to_owned());
        }
        Ok(Self {
            repository: repository.to_owned(),
            reference: reference.to_owned(),
        })
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let joint = if self.reference.contains(':') {
            '@'
        } else {
            ':'
        };
        write!(f, "{}{joint}{}", self.repository, self.reference)
    }
}

pub(crate) async fn run(args: ImagesArgs, context: &Context) -> Result {
    let client = context.client()?;
    match (args.action, args.repository) {
        (None, None) => context.printer.list(client.images().await?, repositories),
        (None, Some(name)) => context.printer.list(client.image_tags(&name).await?, tags),
        (Some(Action::Show { reference }), _) => {
            let image = client
                .image(&reference.repository, &reference.reference)
                .await?;
            context.printer.object(&image, detail)?;
            match context.printer.format() {
                crate::output::Format::Json => Ok(()),
                crate::output::Format::Table => {
                    context.printer.line("")?;
                    context.printer.table(&history(&image.history))
                }
            }
        }
        (
            Some(Action::Delete {
                reference,
                force,
                yes,
            }),
            _,
        ) => {
            if !yes {
                confirm(context, &format!("delete {reference}?"))?;
            }
            let earlier = if force { Earlier::Lose } else { Earlier::Keep };
            client
                .delete_image(&reference.repository, &reference.reference, earlier)
                .await?;
            context.printer.done(&format!("{reference} is deleted"))
        }
        (Some(Action::Collect { min_age }), _) => {
            let mut progress = context.printer.progress("collecting");
            progress.say("reading what is needed, removing the rest");
            let collected = client.collect_images(min_age).await;
            progress.end();
            told(context, &collected?)
        }
        (Some(Action::Usage), _) => {
            let state = client.registry().await?;
            context.printer.object(&state, |state| {
                let mut table = Table::fields();
                table.field("repositories", state.repositories);
                table.field("content", bytes(state.bytes));
                if let Some(reclaimable) = state.reclaimable_bytes {
                    table.field("reclaimable", bytes(reclaimable));
                }
                table.field("disk free", bytes(state.disk.free));
                table.field("disk", bytes(state.disk.total));
                table.field("collection", Cell::phase(&state.collection.phase));
                if let Some(finished) = state.collection.finished {
                    let ago = age(finished, chrono::Utc::now());
                    table.field("collected", format!("{ago} ago"));
                }
                table.field("freed", bytes(state.collection.freed_bytes));
                table.field(
                    "reason",
                    state.collection.reason.clone().unwrap_or_default(),
                );
                table
            })
        }
    }
}

fn told(context: &Context, collected: &CollectionStatus) -> Result {
    if collected.phase == CollectionPhase::Failed {
        let reason = collected.reason.as_deref().unwrap_or("no reason is known");
        return Err(CliError::new(format!("the collection failed: {reason}")));
    }
    if let Some(reason) = &collected.reason {
        context.printer.note(reason)?;
    }
    context.printer.object(collected, |collected| {
        let mut table = Table::fields();
        table.field("images removed", collected.freed_images);
        table.field("freed", bytes(collected.freed_bytes));
        table
    })
}

fn repositories(repositories: &[Repository]) -> Table {
    let mut table = Table::new(
        &["REPOSITORY", "TAGS", "SIZE", "PUSHED", "REFERENCE"],
        "the registry is empty",
    );
    let now = chrono::Utc::now();
    for repository in repositories {
        let pushed = repository.updated.map(|at| age(at, now));
        table.row(vec![
            (&repository.name).into(),
            repository.tags.into(),
            bytes(repository.bytes).into(),
            pushed.unwrap_or_default().into(),
            (&repository.reference).into(),
        ]);
    }
    table
}

fn tags(images: &[ImageTag]) -> Table {
    let mut table = Table::new(
        &["TAG", "DIGEST", "SIZE", "PLATFORMS", "USED BY", "REFERENCE"],
        "this repository has no images",
    );
    for image in images {
        let tag = match &image.tag {
            Some(tag) => tag.into(),
            None => Cell::toned("(none)", Tone::Dim),
        };
        table.row(vec![
            tag,
            short(&image.digest).into(),
            bytes(image.bytes).into(),
            image.platforms.join(", ").into(),
            used(&image.used_by).into(),
            (&image.reference).into(),
        ]);
    }
    table
}

/// Who relies most on it, in a word.
fn used(uses: &[ImageUse]) -> String {
    let named: Vec<String> = uses
        .iter()
        .filter(|by| by.live > Live::No)
        .map(|by| match (&by.app, &by.release, &by.pod) {
            (Some(app), Some(release), _) => format!("{app}/{release}"),
            (_, _, Some(pod)) => format!("pod {pod}"),
            _ => by.to_string(),
        })
        .collect();
    match named.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

/// Without most of its digits: nobody compares them by eye.
fn short(digest: &str) -> String {
    digest.chars().take("sha256:".len() + 12).collect()
}

fn detail(image: &ImageDetail) -> Table {
    let mut table = Table::fields();
    table.field("repository", &image.repository);
    table.field("tags", image.tags.join(", "));
    table.field("digest", &image.digest);
    table.field("type", &image.media_type);
    table.field("size", bytes(image.bytes));
    table.field("created", image.created.clone().unwrap_or_default());
    let platforms = image.platforms.iter().map(|one| one.platform.clone());
    table.field("platforms", platforms.collect::<Vec<_>>().join(", "));
    table.field("entrypoint", image.entrypoint.join(" "));
    table.field("command", image.cmd.join(" "));
    table.field("user", image.user.clone().unwrap_or_default());
    table.field("directory", image.workdir.clone().unwrap_or_default());
    table.field("ports", image.ports.join(", "));
    table.field("volumes", image.volumes.join(", "));
    table.field("variables", image.env.join(", "));
    for (name, value) in &image.labels {
        table.field("label", format!("{name}={value}"));
    }
    for layer in &image.layers {
        let size = bytes(layer.bytes);
        table.field("layer", format!("{} {size}", short(&layer.digest)));
    }
    for by in &image.used_by {
        table.field("used by", by.to_string());
    }
    table
}

fn history(steps: &[ImageStep]) -> Table {
    let mut table = Table::new(&["STEP", "SIZE", "MADE BY"], "this image says no history");
    for (at, step) in steps.iter().enumerate() {
        let by = step.created_by.as_deref().unwrap_or_default();
        let mut by: String = by.chars().take(INSTRUCTION + 1).collect();
        if by.chars().count() > INSTRUCTION {
            by.pop();
            by.push('…');
        }
        table.row(vec![
            (at + 1).into(),
            step.bytes.map(bytes).unwrap_or_default().into(),
            by.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_written_as_docker_has_it_or_shorter() {
        let read = |text: &str| {
            text.parse::<Reference>()
                .map(|r| (r.repository, r.reference))
        };
        let is = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(read("default/hello"), is("default/hello", "latest"));
        assert_eq!(read("default/hello:v1"), is("default/hello", "v1"));
        for host in ["127.0.0.1:7070", "localhost", "paas.example.org"] {
            let image = format!("{host}/default/hello:v1");
            assert_eq!(read(&image), is("default/hello", "v1"));
        }
        let by_digest = "a/b:v1@sha256:00".parse::<Reference>().unwrap();
        assert_eq!(by_digest.to_string(), "a/b@sha256:00");
        assert!(read("").is_err() && read("a/b:").is_err());
    }
}
