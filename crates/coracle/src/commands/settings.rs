//! `coracle settings`: what holds for the whole platform.

use clap::Subcommand;
use coracle_model::name::Hostname;
use coracle_model::quantity::{ByteSize, Cpu};
use coracle_model::settings::{PlatformSettings, RegistryLogin};

use crate::context::Context;
use crate::error::{CliError, Result};
use crate::table::Table;

use super::session::{ask_password, password_from_input};

/// Show or change what holds for the whole platform
#[derive(Debug, clap::Args)]
pub(crate) struct SettingsArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what is set, and what holds
    Show,
    /// Change some of it; what is not named stays, and `default` takes a setting back
    Set(Box<SetArgs>),
    /// Set with whom images of a registry are pulled, for all projects
    Login {
        /// The registry, as images name it, such as registry.example.com:5000
        registry: String,
        /// The user
        #[arg(long)]
        username: String,
        /// Read the password from standard input, for scripts
        #[arg(long)]
        password_stdin: bool,
    },
    /// Forget how to log in to a registry
    Logout {
        /// The registry
        registry: String,
    },
}

#[derive(Debug, clap::Args)]
struct SetArgs {
    /// Apps are served at APP.DOMAIN; all apps move there
    #[arg(long, value_parser = setting::<Hostname>)]
    domain: Option<Setting<Hostname>>,
    /// How long a login lasts, in days
    #[arg(long, value_name = "DAYS", value_parser = setting::<u32>)]
    session_days: Option<Setting<u32>>,
    /// Pods of new apps' process web, where their source does not say
    #[arg(long, value_parser = setting::<u32>)]
    replicas: Option<Setting<u32>>,
    /// The most processor time of a pod, where its source does not say
    #[arg(long, value_parser = setting::<Cpu>)]
    cpu: Option<Setting<Cpu>>,
    /// The most memory of a pod, where its source does not say
    #[arg(long, value_parser = setting::<ByteSize>)]
    memory: Option<Setting<ByteSize>>,
    /// Builds that are kept of each app
    #[arg(long, value_name = "NUMBER", value_parser = setting::<u32>)]
    keep_builds: Option<Setting<u32>>,
    /// Releases that are kept of each app
    #[arg(long, value_name = "NUMBER", value_parser = setting::<u32>)]
    keep_releases: Option<Setting<u32>>,
}

/// A value, or the wish to set none.
#[derive(Clone, Debug)]
enum Setting<T> {
    To(T),
    Default,
}

fn setting<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: &str,
) -> std::result::Result<Setting<T>, String> {
    match text {
        "default" => Ok(Setting::Default),
        text => text
            .parse()
            .map(Setting::To)
            .map_err(|error: T::Err| error.to_string()),
    }
}

fn change<T>(field: &mut Option<T>, setting: Option<Setting<T>>) {
    match setting {
        Some(Setting::To(value)) => *field = Some(value),
        Some(Setting::Default) => *field = None,
        None => {}
    }
}

pub(crate) async fn run(args: SettingsArgs, context: &Context) -> Result {
    let client = context.client()?;
    let settings = client.settings().await?;
    let seen = Some(settings.metadata.revision);
    let mut spec = settings.spec.clone();
    match args.action.unwrap_or(Action::Show) {
        Action::Show => return context.printer.object(&settings, table),
        Action::Set(set) => {
            change(&mut spec.domain, set.domain);
            change(&mut spec.session_days, set.session_days);
            change(&mut spec.defaults.replicas, set.replicas);
            change(&mut spec.defaults.cpu, set.cpu);
            change(&mut spec.defaults.memory, set.memory);
            change(&mut spec.retention.builds, set.keep_builds);
            change(&mut spec.retention.releases, set.keep_releases);
        }
        Action::Login {
            registry,
            username,
            password_stdin,
        } => {
            let password = if password_stdin {
                password_from_input()?
            } else {
                ask_password(context, &format!("Password of {username} at {registry}: "))?
            };
            spec.registries.retain(|login| login.host != registry);
            spec.registries.push(RegistryLogin {
                host: registry,
                username,
                password: Some(password),
                ..RegistryLogin::default()
            });
        }
        Action::Logout { registry } => {
            let before = spec.registries.len();
            spec.registries.retain(|login| login.host != registry);
            if spec.registries.len() == before {
                let message = format!("there is no login for {registry}");
                return Err(CliError::new(message).hint("coracle settings shows them"));
            }
        }
    }
    let settings = client.update_settings(&spec, seen).await?;
    context.printer.object(&settings, table)
}

fn table(settings: &PlatformSettings) -> Table {
    let mut table = Table::fields();
    let (spec, status) = (&settings.spec, &settings.status);
    let or = |set: Option<String>| set.unwrap_or_else(|| "default".to_owned());
    let number = |set: Option<u32>| or(set.map(|n| n.to_string()));
    table.field("Domain", &status.domain);
    table.field("Session", format!("{} days", status.session_days));
    table.field("Replicas", number(spec.defaults.replicas));
    table.field("CPU", or(spec.defaults.cpu.map(|cpu| cpu.to_string())));
    table.field(
        "Memory",
        or(spec.defaults.memory.map(|memory| memory.to_string())),
    );
    table.field("Keep builds", number(spec.retention.builds));
    table.field("Keep releases", number(spec.retention.releases));
    for login in &spec.registries {
        table.field("Registry", format!("{} as {}", login.host, login.username));
    }
    table
}
