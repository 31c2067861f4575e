//! The command line: which verbs there are.

use clap::{Parser, Subcommand};
use coracle_model::name::ProjectName;

use crate::commands::{
    apps, builds, completions, deploy, doctor, domains, down, env, exec, export, fetch_source,
    forward, images, import, logs, nodes, open, pods, projects, promote, ps, releases, scale,
    session, settings, templates, tokens, top, up, users, volumes,
};
use crate::context::Context;
use crate::error::Result;
use crate::output::Format;
use crate::{env_vars, gateway, serve};

/// A private platform-as-a-service: give it a folder or an image, and it gives back a running application with a URL.
#[derive(Debug, Parser)]
#[command(
    name = "coracle",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Debug, clap::Args)]
struct Global {
    /// The project
    #[arg(long, short, global = true, value_name = "PROJECT", env = env_vars::PROJECT, hide_env_values = true, default_value = ProjectName::DEFAULT)]
    project: ProjectName,
    /// How results are printed
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t
    )]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(up::UpArgs),
    Down(down::DownArgs),
    Serve(serve::ServeArgs),
    Gateway(gateway::GatewayArgs),
    Doctor(doctor::DoctorArgs),
    Login(session::LoginArgs),
    Logout(session::LogoutArgs),
    Whoami(session::WhoAmIArgs),
    Deploy(deploy::DeployArgs),
    Templates(templates::TemplatesArgs),
    Apps(apps::AppsArgs),
    Releases(releases::ReleasesArgs),
    Rollback(releases::RollbackArgs),
    Promote(promote::PromoteArgs),
    Scale(scale::ScaleArgs),
    Env(env::EnvArgs),
    Domains(domains::DomainsArgs),
    Logs(logs::LogsArgs),
    Ps(ps::PsArgs),
    Top(top::TopArgs),
    Exec(exec::ExecArgs),
    Run(exec::RunArgs),
    #[command(visible_alias = "port-forward")]
    Forward(forward::ForwardArgs),
    Open(open::OpenArgs),
    Builds(builds::BuildsArgs),
    Pods(pods::PodsArgs),
    Nodes(nodes::NodesArgs),
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Images(images::ImagesArgs),
    Volumes(volumes::VolumesArgs),
    Projects(projects::ProjectsArgs),
    Users(users::UsersArgs),
    Tokens(tokens::TokensArgs),
    Settings(Box<settings::SettingsArgs>),
    #[command(hide = true)]
    FetchSource(fetch_source::FetchSourceArgs),
    Completions(completions::CompletionsArgs),
}

impl Cli {
    /// How results are printed.
    pub(crate) const fn format(&self) -> Format {
        self.global.output
    }

    /// Does what was asked.
    pub(crate) fn run(self, context: Context) -> Result {
        let context = context.in_project(self.global.project);
        match self.verb {
            // These two have a runtime of their own.
            Verb::Serve(args) => serve::run(&args),
            Verb::Gateway(args) => gateway::run(args),
            verb => {
                let runtime = crate::runtime::new(1)?;
                let done = runtime.block_on(verb.run(&context));
                // A thread that reads the terminal would wait for a key.
                runtime.shutdown_background();
                done
            }
        }
    }
}

impl Verb {
    async fn run(self, context: &Context) -> Result {
        match self {
            Self::Serve(_) | Self::Gateway(_) => Ok(()),
            Self::Up(args) => Box::pin(up::run(args, context)).await,
            Self::Down(args) => down::run(args, context).await,
            Self::Doctor(args) => Box::pin(doctor::run(args, context)).await,
            Self::Login(args) => session::log_in(args, context).await,
            Self::Logout(_) => session::log_out(context).await,
            Self::Whoami(_) => session::who_am_i(context).await,
            Self::Deploy(args) => Box::pin(deploy::run(args, context)).await,
            Self::Templates(_) => templates::run(context).await,
            Self::Apps(args) => apps::run(args, context).await,
            Self::Releases(args) => releases::list(args, context).await,
            Self::Rollback(args) => Box::pin(releases::roll_back(args, context)).await,
            Self::Promote(args) => Box::pin(promote::run(args, context)).await,
            Self::Scale(args) => Box::pin(scale::run(args, context)).await,
            Self::Env(args) => Box::pin(env::run(args, context)).await,
            Self::Domains(args) => domains::run(args, context).await,
            Self::Logs(args) => logs::run(args, context).await,
            Self::Ps(args) => ps::run(args, context).await,
            Self::Top(args) => top::run(args, context).await,
            Self::Exec(args) => Box::pin(exec::exec(args, context)).await,
            Self::Run(args) => Box::pin(exec::run(args, context)).await,
            Self::Forward(args) => Box::pin(forward::run(args, context)).await,
            Self::Open(args) => open::run(args, context).await,
            Self::Builds(args) => builds::run(args, context).await,
            Self::Pods(args) => pods::run(args, context).await,
            Self::Nodes(args) => nodes::run(args, context).await,
            Self::Export(args) => Box::pin(export::run(args, context)).await,
            Self::Import(args) => Box::pin(import::run(args, context)).await,
            Self::Images(args) => images::run(args, context).await,
            Self::Volumes(args) => volumes::run(args, context).await,
            Self::Projects(args) => projects::run(args, context).await,
            Self::Users(args) => users::run(args, context).await,
            Self::Tokens(args) => tokens::run(args, context).await,
            Self::Settings(args) => Box::pin(settings::run(*args, context)).await,
            Self::FetchSource(args) => Box::pin(fetch_source::run(args)).await,
            Self::Completions(args) => completions::run(&args, context),
        }
    }
}
