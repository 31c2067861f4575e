//! Ports of this machine.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use coracle_task::Supervisor;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::error::{CliError, Result};

use super::stream::Forwarder;

/// Connections of one port at the same time; more wait in the kernel's queue.
const CONNECTIONS: usize = 256;
/// Pause after an accept that failed, for want of file descriptors for example.
const PAUSE: Duration = Duration::from_millis(100);
/// Free ports that are tried until one is free on both loopback addresses.
const TRIES: usize = 8;

/// A port of this machine (0: any) and the port of the pod that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortPair {
    pub(super) local: u16,
    pub(super) remote: u16,
}

impl FromStr for PortPair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (local, remote) = match text.split_once(':') {
            Some((local, remote)) => (Some(local), remote),
            None => (None, text),
        };
        let wrong = || "use PORT or LOCAL:PORT, such as 5432, 15432:5432 or 0:5432".to_owned();
        let remote = remote
            .parse()
            .map_err(|_no_port| wrong())
            .map(NonZeroU16::get)?;
        let local = match local {
            None => remote,
            Some("") => 0,
            Some(local) => local.parse().map_err(|_no_port| wrong())?,
        };
        Ok(Self { local, remote })
    }
}

/// Listens on a port of each of the addresses; with the usual loopback address also on that of IPv6, where there is one.
pub(super) async fn open(
    pair: &PortPair,
    addresses: &[IpAddr],
) -> Result<Vec<(TcpListener, SocketAddr)>> {
    let usual = addresses == [IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let mut last = None;
    for _ in 0..TRIES {
        let mut port = pair.local;
        let mut listeners = Vec::new();
        for address in addresses {
            let listener = bind(*address, port, pair).await?;
            port = listener.1.port();
            listeners.push(listener);
        }
        if !usual {
            return Ok(listeners);
        }
        match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
            Ok(listener) => {
                listeners.push((listener, (Ipv6Addr::LOCALHOST, port).into()));
                return Ok(listeners);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse && pair.local == 0 => {
                last = Some(listeners);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                return Err(taken(Ipv6Addr::LOCALHOST.into(), pair));
            }
            // This machine has no IPv6.
            Err(_none) => return Ok(listeners),
        }
    }
    Ok(last.unwrap_or_default())
}

async fn bind(address: IpAddr, port: u16, pair: &PortPair) -> Result<(TcpListener, SocketAddr)> {
    let bound = TcpListener::bind((address, port)).await;
    let local = |listener: TcpListener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.and_then(local).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => taken(address, pair),
        ErrorKind::PermissionDenied => {
            CliError::new(format!("port {port} of this machine needs root")).hint(format!(
                "use another one: {}:{}",
                port.saturating_add(8000),
                pair.remote
            ))
        }
        ErrorKind::AddrNotAvailable => {
            CliError::new(format!("{address} is no address of this machine"))
        }
        _ => CliError::caused(format!("port {port} of {address} cannot be opened"), &error),
    })
}

fn taken(address: IpAddr, pair: &PortPair) -> CliError {
    let PortPair { local, remote } = pair;
    CliError::new(format!("port {local} of {address} is taken")).hint(format!(
        "use another one, such as {}:{remote}, or 0:{remote} for any that is free",
        local.checked_add(10_000).unwrap_or(*local - 10_000)
    ))
}

/// Accepts connections for ever, each a task of `group`.
pub(super) async fn accept(
    listener: TcpListener,
    group: &Supervisor,
    forwarder: Arc<Forwarder>,
    port: u16,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _from)) => {
                let forwarder = Arc::clone(&forwarder);
                group.spawn("connection", async move {
                    forwarder.forward(stream, port).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        let pair = |local, remote| Ok(PortPair { local, remote });
        assert_eq!("5432".parse(), pair(5432, 5432));
        assert_eq!("15432:5432".parse(), pair(15432, 5432));
        assert_eq!("0:5432".parse(), pair(0, 5432));
        assert_eq!(":5432".parse(), pair(0, 5432));
        for wrong in ["", "0", "x", "1:0", "1:2:3", "65536", "-1", "1:"] {
            assert!(wrong.parse::<PortPair>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_free_port_is_free_on_both_loopback_addresses_and_a_taken_one_is_told() {
        let any = PortPair {
            local: 0,
            remote: 5432,
        };
        let usual = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let opened = open(&any, &usual).await.unwrap();
        let port = opened[0].1.port();
        assert!(opened.iter().all(|(_, address)| address.port() == port));
        let taken = PortPair { local: port, ..any };
        let error = open(&taken, &usual).await.unwrap_err();
        assert!(error.message.contains("is taken"), "{error}");
        assert!(error.hint.unwrap_or_default().contains("0:5432"));
    }
}
