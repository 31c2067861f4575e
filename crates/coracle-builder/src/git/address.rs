//! Which addresses are asked for a repository.
//!
//! Whoever names a repository makes the platform's own machine open a connection. What only that machine can reach is
//! not theirs to reach: itself, what is on its own link, and the services by which clouds tell a machine its secrets; and
//! by all of its addresses and the containers on it, which are known only while it runs ([`machine`](super::machine)).
//! Private networks are: that is where a company's Git server is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All but the machine's own, its containers', its link's, and those of clouds' metadata services.
    #[default]
    Others,
    /// All: the operator says so.
    Everything,
}

/// Metadata services outside of the link-local ranges: of Alibaba Cloud, Azure and Oracle Cloud.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// Of AWS.
const METADATA_V6: [Ipv6Addr; 1] = [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)];

/// Why an address is not asked, on whichever machine; nothing for one that is.
#[must_use]
pub fn refused(address: IpAddr, reach: Reach) -> Option<&'static str> {
    match (reach, address) {
        (Reach::Everything, _) => None,
        (Reach::Others, IpAddr::V4(address)) => refused_v4(address),
        (Reach::Others, IpAddr::V6(address)) => refused_v6(address),
    }
}

fn refused_v4(address: Ipv4Addr) -> Option<&'static str> {
    if address.is_loopback() || address.octets()[0] == 0 {
        Some("the platform's own machine")
    } else if address.is_link_local() {
        Some("the link of the platform's machine")
    } else if METADATA_V4.contains(&address) {
        Some("a cloud's service for its machines")
    } else if address.is_multicast() || address.octets()[0] >= 240 {
        Some("no single machine")
    } else {
        None
    }
}

fn refused_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_loopback() || address.is_unspecified() {
        return Some("the platform's own machine");
    }
    if address.is_unicast_link_local() {
        return Some("the link of the platform's machine");
    }
    if METADATA_V6.contains(&address) {
        return Some("a cloud's service for its machines");
    }
    if address.is_multicast() {
        return Some("no single machine");
    }
    embedded(address).and_then(refused_v4)
}

/// The IPv4 address that a translator on the way would ask instead.
pub(super) fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        // Mapped, compatible, and what Linux takes as either.
        [0, 0, 0, 0, 0, 0xffff | 0] | [0, 0, 0, 0, 0xffff, 0] => Some(of(g, h)),
        // NAT64 (RFC 6052, RFC 8215).
        [0x64, 0xff9b, ..] => Some(of(g, h)),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_machine_itself_can_reach_is_refused() {
        for bad in [
            "127.0.0.1",
            "127.8.9.1",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "64:ff9b::a9fe:a9fe",
            "::ffff:0:127.0.0.1",
        ] {
            let address = bad.parse().unwrap();
            assert!(refused(address, Reach::Others).is_some(), "{bad}");
            assert_eq!(refused(address, Reach::Everything), None, "{bad}");
        }
        for good in [
            "10.1.2.3",
            "192.168.1.1",
            "140.82.121.4",
            "fd12::1",
            "2606:50c0::1",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(
                refused(good.parse().unwrap(), Reach::Others),
                None,
                "{good}"
            );
        }
    }
}
