//! `coracle forward`: ports of this machine that lead to ports of pods.
//!
//! Theory of operation: each connection that is made here becomes a stream of its own to a pod that is chosen for it
//! (`choice`, pure): the same as before while that one is ready, another when it is replaced. What concerns one connection
//! ends that connection and is told; what makes every other one fail too, such as credentials that ended, ends the command.

mod choice;
mod listen;
mod stream;
mod target;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use coracle_client::connect::Ports;
use coracle_model::name::ProcessName;
use coracle_model::user::Role;
use coracle_task::Supervisor;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::context::Context;
use crate::error::{CliError, Result};
use crate::output::Format;
use crate::runtime;

use listen::PortPair;
use stream::Forwarder;
use target::{Target, TargetName};

/// Failures of connections that wait to be told.
const FAILURES: usize = 16;

/// Forward ports of this machine to ports of an app or a pod
///
/// Each connection goes to a pod that is ready, and to its successor when it is replaced. Ends with Ctrl-C.
#[derive(Debug, clap::Args)]
pub(crate) struct ForwardArgs {
    /// The app or the pod (`app/NAME` or `pod/NAME` where both have the name)
    #[arg(value_name = "APP|POD")]
    target: TargetName,
    /// The port of the pod, with another one of this machine before it where wanted (0: any that is free); all that are
    /// declared when absent
    #[arg(value_name = "[LOCAL:]PORT")]
    ports: Vec<PortPair>,
    /// Listen on this address of this machine; others can connect when it is not a loopback address
    #[arg(long, value_name = "ADDRESS", default_values_t = [IpAddr::V4(Ipv4Addr::LOCALHOST)], hide_default_value = true)]
    address: Vec<IpAddr>,
    /// To pods of this process of the app
    #[arg(long, value_name = "PROCESS")]
    process: Option<ProcessName>,
    /// Also to ports that the pod does not declare
    #[arg(long)]
    any_port: bool,
}

/// What was opened, for programs.
#[derive(Serialize)]
struct Opened<'a> {
    project: &'a str,
    #[serde(flatten)]
    target: &'a Target,
    forwards: Vec<Forwarded>,
}

#[derive(Serialize)]
struct Forwarded {
    port: u16,
    listen: Vec<SocketAddr>,
}

pub(crate) async fn run(args: ForwardArgs, context: &Context) -> Result {
    let client = context.client()?;
    if client.who_am_i().await?.role < Role::Developer {
        return Err(CliError::new("a viewer may not connect to pods")
            .hint("ask an administrator for the role developer"));
    }
    let target = args.target.resolve(&client, context).await?;
    let ports = if args.any_port {
        Ports::Any
    } else {
        Ports::Declared
    };
    let (failed, mut failures) = mpsc::channel(FAILURES);
    let forwarder = Forwarder::new(
        client,
        context.project.clone(),
        target,
        args.process,
        ports,
        failed,
    );
    let pairs = if args.ports.is_empty() {
        forwarder.declared().await?
    } else {
        args.ports
    };
    for pair in &pairs {
        // What can never work is said now, and not at the first connection.
        forwarder.check(pair.remote).await?;
    }
    let asked_to_end = runtime::asked_to_end()?;
    let supervisor = Supervisor::new("forward");
    let forwarder = Arc::new(forwarder);
    let mut forwards = Vec::new();
    for pair in &pairs {
        let listeners = listen::open(pair, &args.address).await?;
        let mut addresses = Vec::new();
        for (listener, address) in listeners {
            addresses.push(address);
            let (forwarder, group) = (Arc::clone(&forwarder), supervisor.clone());
            let port = pair.remote;
            supervisor.spawn("listener", async move {
                listen::accept(listener, &group, forwarder, port).await;
            });
        }
        forwards.push(Forwarded {
            port: pair.remote,
            listen: addresses,
        });
    }
    show(context, forwarder.target(), forwards)?;
    tokio::pin!(asked_to_end);
    let mut last = String::new();
    loop {
        tokio::select! {
            () = &mut asked_to_end => return Ok(()),
            Some(failure) = failures.recv() => {
                if failure.ends_all {
                    return Err(failure.error);
                }
                // A program that tries again and again is not told the same again and again.
                let told = failure.to_string();
                if told != last {
                    context.printer.note(&told)?;
                }
                last = told;
            }
        }
    }
}

fn show(context: &Context, target: &Target, forwards: Vec<Forwarded>) -> Result {
    let printer = &context.printer;
    match printer.format() {
        Format::Json => printer.json_line(&Opened {
            project: context.project.as_str(),
            target,
            forwards,
        }),
        Format::Table => {
            for forwarded in forwards {
                let listen: Vec<String> =
                    forwarded.listen.iter().map(ToString::to_string).collect();
                let port = forwarded.port;
                printer.line(&format!("{} -> port {port} of {target}", listen.join(", ")))?;
            }
            printer.note("Ctrl-C ends it")
        }
    }
}
