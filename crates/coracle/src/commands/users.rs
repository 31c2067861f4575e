//! `coracle users`: who may log in.

use clap::{Subcommand, ValueEnum};
use coracle_model::name::{ProjectName, UserName};
use coracle_model::user::{Role, User, UserSpec};

use crate::context::Context;
use crate::error::Result;
use crate::table::{Table, word};

use super::session::{ask_password, password_from_input, scope};
use super::tokens::projects;

/// List users, create one, delete one, or set a password
#[derive(Debug, clap::Args)]
pub(crate) struct UsersArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RoleArg {
    /// Look
    Viewer,
    /// Deploy, change and delete apps and pods, run commands in them
    Developer,
    /// Everything
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Viewer => Self::Viewer,
            RoleArg::Developer => Self::Developer,
            RoleArg::Admin => Self::Admin,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the users
    List,
    /// Make a user
    Create {
        /// The user's name
        name: UserName,
        /// What they may do
        #[arg(long, value_enum, default_value_t = RoleArg::Developer)]
        role: RoleArg,
        /// In this project only; may be given several times [default: in all]
        #[arg(long = "only", value_name = "PROJECT")]
        only: Vec<ProjectName>,
        /// Read the password from standard input, for scripts
        #[arg(long)]
        password_stdin: bool,
    },
    /// Delete a user with all tokens and sessions
    Delete {
        /// The user's name
        name: UserName,
    },
    /// Set a user's password
    Password {
        /// The user's name
        name: UserName,
        /// Read the password from standard input, for scripts
        #[arg(long)]
        password_stdin: bool,
    },
}

pub(crate) async fn run(args: UsersArgs, context: &Context) -> Result {
    let client = context.client()?;
    let password = |name: &UserName, from_input: bool, what: &str| {
        if from_input {
            password_from_input()
        } else {
            ask_password(context, &format!("{what} of {name}: "))
        }
    };
    match args.action.unwrap_or(Action::List) {
        Action::List => context.printer.list(client.users().await?, table),
        Action::Create {
            name,
            role,
            only,
            password_stdin,
        } => {
            let spec = UserSpec {
                role: role.into(),
                projects: projects(only),
            };
            let password = password(&name, password_stdin, "Password")?;
            let made = client.create_user(&name, &spec, &password).await?;
            context
                .printer
                .object(&made, |made| table(std::slice::from_ref(made)))
        }
        Action::Delete { name } => {
            client.delete_user(&name).await?;
            context.printer.done(&format!("user {name} is deleted"))
        }
        Action::Password {
            name,
            password_stdin,
        } => {
            let own = client.who_am_i().await?.user == name;
            // Scripts have one line for the password; who changes their own is asked for the present one as well.
            let current = if own && !password_stdin {
                Some(password(&name, false, "Present password")?)
            } else {
                None
            };
            let new = password(&name, password_stdin, "New password")?;
            client.set_password(&name, &new, current.as_ref()).await?;
            context
                .printer
                .done(&format!("the password of {name} is changed"))
        }
    }
}

fn table(users: &[User]) -> Table {
    let mut table = Table::new(&["NAME", "ROLE", "PROJECTS"], "there are no users");
    for user in users {
        table.row(vec![
            (&user.metadata.name).into(),
            word(&user.spec.role).into(),
            scope(&user.spec.projects).into(),
        ]);
    }
    table
}
