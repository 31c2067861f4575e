//! `coracle exec` and `run`: commands in pods, with a real terminal where there is one.

use coracle_client::exec::{Output, Session};
use coracle_client::{Client, ClientError};
use coracle_model::name::{AppName, PodName};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::context::{Context, of_app};
use crate::error::{CliError, Result};

use super::terminal::{self, RawMode};

/// Bytes of input that are read at once.
const INPUT_BYTES: usize = 16 * 1024;

/// Run a command in a running pod
#[derive(Debug, clap::Args)]
pub(crate) struct ExecArgs {
    /// The pod
    pod: PodName,
    /// The command
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Run a command in a new pod of an app, which is gone when the command ends
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The app
    app: AppName,
    /// The command
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<String>,
}

pub(crate) async fn exec(args: ExecArgs, context: &Context) -> Result {
    let client = context.client()?;
    let size = terminal::size();
    let session = client
        .exec(&context.project, &args.pod, &args.command, size)
        .await?;
    converse(context, session, size.is_some()).await
}

pub(crate) async fn run(args: RunArgs, context: &Context) -> Result {
    let client = context.client()?;
    let (app, size) = (&args.app, terminal::size());
    let mut progress = context.printer.progress("starting a pod");
    let pod = of_app!(
        context,
        &client,
        app,
        client.run(&context.project, app, &args.command, size).await
    );
    let name = PodName::new(pod.metadata.name)?;
    progress.say(&format!("waiting for pod {name}"));
    let attached = client.attach(&context.project, &name).await;
    progress.end();
    let ended = match attached {
        Ok(session) => converse(context, session, size.is_some()).await,
        Err(error) => Err(error.into()),
    };
    remove(&client, context, &name).await?;
    ended
}

/// The pod of a one-off command is of no use afterwards. The platform may have removed it by itself.
async fn remove(client: &Client, context: &Context, pod: &PodName) -> Result {
    match client.delete_pod(&context.project, pod, None).await {
        Err(error) if error.problem().is_none_or(|problem| problem.status != 404) => context
            .printer
            .note(&format!("pod {pod} is left behind: {}", error.explain())),
        _ => Ok(()),
    }
}

/// Carries input and output until the command ends; its exit status becomes ours.
async fn converse(context: &Context, session: Session, is_terminal: bool) -> Result {
    let Session {
        mut input,
        mut output,
    } = session;
    let mut resized = signal(SignalKind::window_change())
        .map_err(|error| CliError::caused("signals cannot be received", &error))?;
    let raw = if is_terminal {
        Some(RawMode::enter()?)
    } else {
        None
    };
    let feeding = async {
        let mut stdin = tokio::io::stdin();
        let mut buffer = vec![0; INPUT_BYTES];
        let mut open = true;
        loop {
            tokio::select! {
                read = stdin.read(&mut buffer), if open => match read {
                    Ok(0) | Err(_) => {
                        open = false;
                        input.end().await?;
                    }
                    Ok(n) => input.send(&buffer[..n]).await?,
                },
                () = changed(&mut resized, is_terminal) => {
                    if let Some(size) = terminal::size() {
                        input.resize(size).await?;
                    }
                }
            }
        }
    };
    let showing = async {
        loop {
            match output.next().await? {
                Output::Stdout(bytes) => context.printer.out(&bytes)?,
                Output::Stderr(bytes) => context.printer.err(&bytes)?,
                Output::Exit(code) => return Ok::<_, CliError>(code),
            }
        }
    };
    tokio::pin!(showing);
    let fed: std::result::Result<std::convert::Infallible, ClientError>;
    let ended = tokio::select! {
        ended = &mut showing => ended,
        failed = feeding => {
            fed = failed;
            // A command that ended takes no more input; its status is still to come.
            showing.await.map_err(|error| match fed {
                Err(cause) if error.message.is_empty() => cause.into(),
                _ => error,
            })
        }
    };
    drop(raw);
    match ended? {
        0 => Ok(()),
        code => Err(CliError::silent(u8::try_from(code).unwrap_or(1))),
    }
}

/// The terminal has another size.
async fn changed(resized: &mut Signal, is_terminal: bool) {
    if !is_terminal || resized.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}
