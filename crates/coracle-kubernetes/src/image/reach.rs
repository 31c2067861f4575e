//! Where questions to a registry may lead.
//!
//! Theory of operation: whoever deploys names a registry, and that registry names where its tokens are to be had and where
//! its blobs lie. What it names may be no closer to the control plane than itself: a registry of the internet leads nobody to
//! the cluster's own addresses, and nothing ever leads to link-local ones, where clouds keep their machines' credentials. The
//! registry's own name is resolved once and kept; every other name is judged by what it resolves to when it is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;

/// Redirects of one request.
const REDIRECTS: usize = 5;
/// For a name to be resolved.
const RESOLVE: Duration = Duration::from_secs(5);

/// How close an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closeness {
    /// The internet.
    Public,
    /// A network of somebody's own: the cluster's pods, Services and nodes are here.
    Private,
    /// This very machine or pod.
    Loopback,
}

/// Of an address. Nothing for one at which no registry is: link-local, multicast, unspecified.
fn closeness(address: IpAddr) -> Option<Closeness> {
    match address.to_canonical() {
        IpAddr::V4(v4) => closeness_v4(v4),
        IpAddr::V6(v6) => closeness_v6(v6),
    }
}

fn closeness_v4(address: Ipv4Addr) -> Option<Closeness> {
    let [a, b, ..] = address.octets();
    if address.is_loopback() {
        Some(Closeness::Loopback)
    } else if a == 0 || a >= 224 || address.is_link_local() {
        None
    } else if address.is_private()
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && b & 0xfe == 18)
    {
        Some(Closeness::Private)
    } else {
        Some(Closeness::Public)
    }
}

fn closeness_v6(address: Ipv6Addr) -> Option<Closeness> {
    let segments = address.segments();
    if address.is_loopback() {
        Some(Closeness::Loopback)
    } else if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        // An IPv4 address behind a translator.
        let [.., a, b, c, d] = address.octets();
        closeness_v4(Ipv4Addr::new(a, b, c, d))
    } else if address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local()
    {
        None
    } else if address.is_unique_local() || segments[0] & 0xffc0 == 0xfec0 {
        Some(Closeness::Private)
    } else {
        Some(Closeness::Public)
    }
}

/// Why a registry is not asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unasked {
    /// Nobody says where it is. That may pass.
    #[error("{0}")]
    Unresolved(String),
    /// What it is called, or where it is, no registry is.
    #[error("{0}")]
    NoRegistry(&'static str),
}

/// What a registry's answers may lead to.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    /// As it was named: `HOST` or `HOST:PORT`.
    host: String,
    /// That without the port, for its addresses.
    pub(super) name: String,
    scheme: &'static str,
    /// Its own addresses.
    pub(super) own: Vec<SocketAddr>,
    closest: Closeness,
}

impl Reach {
    /// Looks where a registry is.
    pub(super) async fn of(scheme: &'static str, host: &str) -> Result<Self, Unasked> {
        let url = Url::parse(&format!("{scheme}://{host}/"));
        let url = url.map_err(|_| Unasked::NoRegistry("that is no name of a registry"))?;
        let name = url.host_str().unwrap_or_default();
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or_default();
        let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((name, port)));
        let own: Vec<SocketAddr> = match found.await {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(error)) => return Err(Unasked::Unresolved(error.to_string())),
            Err(_elapsed) => {
                let words = "its name is not resolved in time";
                return Err(Unasked::Unresolved(words.to_owned()));
            }
        };
        let near = own.iter().map(|address| closeness(address.ip()));
        // One address that is none of a registry's makes all of them suspect.
        let near: Option<Vec<Closeness>> = near.collect();
        let closest = near.and_then(|near| near.into_iter().max());
        let closest = closest.ok_or(Unasked::NoRegistry(
            "it is at an address at which no registry is",
        ))?;
        Ok(Self {
            name: name.to_owned(),
            host: host.to_owned(),
            scheme,
            own,
            closest,
        })
    }

    fn admits(&self, address: IpAddr) -> bool {
        closeness(address).is_some_and(|near| near <= self.closest)
    }

    /// May this be asked because the registry says so? A name is judged once more when it is resolved.
    pub(super) fn check(&self, url: &Url) -> Result<(), String> {
        let shown = url.host_str().unwrap_or_default();
        let itself = url.scheme() == self.scheme && self.is_itself(url);
        if url.scheme() != "https" && !itself {
            return Err(format!(
                "{} leads to {}://{shown}, which is not asked: only https is",
                self.host,
                url.scheme()
            ));
        }
        let literal = shown.trim_start_matches('[').trim_end_matches(']').parse();
        match literal {
            Ok(address) if !itself && !self.admits(address) => Err(self.elsewhere(shown)),
            _ => Ok(()),
        }
    }

    fn is_itself(&self, url: &Url) -> bool {
        let own = Url::parse(&format!("{}://{}/", self.scheme, self.host));
        own.is_ok_and(|own| {
            (own.host_str(), own.port_or_known_default())
                == (url.host_str(), url.port_or_known_default())
        })
    }

    fn elsewhere(&self, host: &str) -> String {
        format!(
            "{} leads to {host}, which is not asked: it is on a network that {} is not on itself",
            self.host, self.host
        )
    }

    /// Follows what may be followed.
    pub(super) fn redirects(&self) -> Policy {
        let reach = self.clone();
        Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS {
                return attempt.error("it leads from one address to the next");
            }
            match reach.check(attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(why) => attempt.error(why),
            }
        })
    }
}

impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let all: Vec<SocketAddr> = found.collect();
            if !all.iter().all(|address| reach.admits(address.ip())) {
                return Err(reach.elsewhere(name.as_str()).into());
            }
            let all: Addrs = Box::new(all.into_iter());
            Ok(all)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(address: &str) -> Option<Closeness> {
        closeness(address.parse().unwrap())
    }

    #[test]
    fn addresses_are_as_close_as_they_are() {
        for private in [
            "10.96.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
        ] {
            assert_eq!(near(private), Some(Closeness::Private), "{private}");
        }
        for loopback in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(near(loopback), Some(Closeness::Loopback), "{loopback}");
        }
        for never in [
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "fe80::1",
            "ff02::1",
            "::",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert_eq!(near(never), None, "{never}");
        }
        for public in ["1.1.1.1", "2606:4700::1111", "172.32.0.1"] {
            assert_eq!(near(public), Some(Closeness::Public), "{public}");
        }
    }

    #[test]
    fn a_registry_leads_no_closer_than_itself() {
        let at = |scheme, host: &str, closest| Reach {
            host: host.to_owned(),
            name: host.to_owned(),
            scheme,
            own: Vec::new(),
            closest,
        };
        let may = |reach: &Reach, url: &str| reach.check(&Url::parse(url).unwrap()).is_ok();
        let public = at("https", "ghcr.io", Closeness::Public);
        assert!(may(&public, "https://auth.docker.io/token"));
        assert!(may(&public, "https://140.82.121.33/"));
        for bad in [
            "http://auth.docker.io/token",
            "http://ghcr.io/token",
            "https://10.96.0.1/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest/meta-data/",
            "file:///etc/passwd",
        ] {
            assert!(!may(&public, bad), "{bad}");
        }
        let private = at("https", "registry.lan", Closeness::Private);
        assert!(may(&private, "https://10.0.0.7/token"));
        assert!(!may(&private, "https://127.0.0.1:6443/"));
        assert!(!may(&private, "https://169.254.169.254/"));
        let own = at("http", "127.0.0.1:5000", Closeness::Loopback);
        assert!(may(&own, "http://127.0.0.1:5000/token"));
        assert!(!may(&own, "http://127.0.0.1:2379/"));
        assert!(!may(&own, "http://localhost:5000/token"));
        assert!(may(&own, "https://127.0.0.1:6443/token"));
    }
}
