//! The connection: to all members, balanced, with TLS and a user where they are given.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};

use super::call::{Caller, PATIENCE};
use super::config::EtcdConfig;
use super::failure::{self, Sides};
use super::place::Place;
use crate::error::StoreError;

/// A member that does not take a connection within this time is left for another.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection on which nothing came for this long is asked whether it lives,
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// and is given up when it does not say so within this time.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(4);

/// Connects. With a user this speaks to the cluster, without one it only prepares to.
pub(super) async fn connect(config: &EtcdConfig, place: &Place) -> Result<Caller, StoreError> {
    let sides = Arc::new(Sides {
        endpoints: config.endpoints.join(","),
        user: config.user.as_ref().map(|user| user.name.clone()),
        prefix: place.prefix().to_owned(),
    });
    let mut options = ConnectOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE_TIMEOUT)
        .with_keep_alive_while_idle(true)
        // A member that is cut off from the others must say so instead of keeping a watch waiting.
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    let secure = config
        .endpoints
        .iter()
        .any(|url| url.starts_with("https://"));
    if secure || config.tls.is_some() {
        let mut tls = TlsOptions::new();
        let given = config.tls.clone().unwrap_or_default();
        if let Some(ca) = given.ca {
            tls = tls.ca_certificate(Certificate::from_pem(ca));
        }
        if let (Some(certificate), Some(key)) = (given.certificate, given.key) {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        options = options.with_tls(tls);
    }
    if let Some(user) = &config.user {
        options = options.with_user(&user.name, &user.password);
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let tried = tokio::time::timeout_at(
            deadline,
            Box::pin(Client::connect(&config.endpoints, Some(options.clone()))),
        )
        .await;
        match tried {
            Ok(Ok(client)) => return Ok(Caller::new(client, sides)),
            Ok(Err(error)) => {
                let failure = failure::judge("connect", error, &sides);
                // One member of several may be down: another may answer.
                if !failure.never_sent() || tokio::time::Instant::now() >= deadline {
                    return Err(failure.error);
                }
                tokio::time::sleep(super::call::PAUSE).await;
            }
            Err(_elapsed) => return Err(failure::silent(&sides)),
        }
    }
}
