//! What is the platform's own machine at this moment, and what runs on it.
//!
//! Theory of operation: networks of containers come and go, so it is asked at each fetch. An address is the machine's own
//! when the kernel would speak to it from that very address; connecting a datagram socket tells, and sends nothing.
//! Containers are behind interfaces that an engine made, which is known by their names: the bridge of a company's own
//! network has another, and stays within reach. Behind those of a cluster are the pods of this node only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::address::embedded;

const ROUTES_V4: &str = "/proc/net/route";
const ROUTES_V6: &str = "/proc/net/ipv6_route";
/// Any port: nothing is sent to it.
const PORT: u16 = 9;
/// Beginnings of the names of interfaces that engines make for containers.
const OF_CONTAINERS: [&str; 9] = [
    "docker", "podman", "cni", "cali", "cilium", "lxc", "flannel", "weave", "vxlan.",
];
/// Docker's bridges: this, and the network's short id.
const DOCKER_BRIDGE: &str = "br-";
const DOCKER_SHORT_ID: usize = 12;

/// Networks of containers on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Machine {
    nets: Vec<Net>,
}

/// Addresses with the same first bits. Those of version 4 are as they are mapped into version 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Net {
    address: u128,
    prefix: u32,
}

impl Machine {
    /// As it is now. What cannot be read, as where there is no Linux, is nothing.
    pub(super) async fn now() -> Self {
        let read = async |path| tokio::fs::read_to_string(path).await.unwrap_or_default();
        Self::of(&read(ROUTES_V4).await, &read(ROUTES_V6).await)
    }

    fn of(routes_v4: &str, routes_v6: &str) -> Self {
        let v4 = routes_v4.lines().filter_map(route_v4);
        let v6 = routes_v6.lines().filter_map(route_v6);
        Self {
            nets: v4.chain(v6).collect(),
        }
    }

    /// Why an address is not asked; nothing for one that is somebody else's.
    pub(super) fn refuses(&self, address: IpAddr) -> Option<&'static str> {
        let address = match address {
            IpAddr::V6(v6) => embedded(v6).map_or(address, IpAddr::V4),
            IpAddr::V4(_) => address,
        };
        if is_own(address) {
            return Some("the platform's own machine");
        }
        let number = number(address);
        let inside = self.nets.iter().any(|net| net.has(number));
        inside.then_some("a container on the platform's machine")
    }
}

impl Net {
    fn has(self, address: u128) -> bool {
        // A shift by all bits is none that is defined.
        let rest = 128 - self.prefix;
        rest >= 128 || address >> rest == self.address >> rest
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn is_own(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, PORT))?;
        socket.local_addr()
    });
    // Where nothing leads there, nothing will be fetched from there either.
    from.is_ok_and(|from: SocketAddr| from.ip() == address)
}

fn is_of_containers(interface: &str) -> bool {
    let docker = interface.strip_prefix(DOCKER_BRIDGE).is_some_and(|id| {
        id.len() == DOCKER_SHORT_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    docker || OF_CONTAINERS.iter().any(|name| interface.starts_with(name))
}

/// `br-0123456789ab 0000D20A 00000000 0001 0 0 0 00FFFFFF …`: the numbers are in the machine's order of bytes.
fn route_v4(line: &str) -> Option<Net> {
    let mut words = line.split_whitespace();
    let interface = words.next()?;
    let address = u32::from_str_radix(words.next()?, 16).ok()?;
    let mask = u32::from_str_radix(words.nth(5)?, 16).ok()?;
    let wanted = is_of_containers(interface) && mask != 0;
    wanted.then(|| Net {
        address: number(Ipv4Addr::from(address.to_ne_bytes()).into()),
        prefix: 96 + mask.count_ones(),
    })
}

/// `fd00…00 40 …`, and the interface at the end.
fn route_v6(line: &str) -> Option<Net> {
    let mut words = line.split_whitespace();
    let address = u128::from_str_radix(words.next()?, 16).ok()?;
    let prefix = u32::from_str_radix(words.next()?, 16).ok()?;
    let interface = words.next_back()?;
    let wanted = is_of_containers(interface) && (1..=128).contains(&prefix);
    wanted.then_some(Net { address, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A line as the kernel of this machine would write it.
    fn line(interface: &str, net: [u8; 4], mask: [u8; 4]) -> String {
        let (net, mask) = (u32::from_ne_bytes(net), u32::from_ne_bytes(mask));
        format!("{interface}\t{net:08X}\t00000000\t0001\t0\t0\t0\t{mask:08X}\t0\t0\t0\n")
    }

    #[test]
    fn containers_are_behind_the_interfaces_of_engines() {
        let v4 = [
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
                .to_owned(),
            line("eth0", [0, 0, 0, 0], [0, 0, 0, 0]),
            line("eth0", [203, 0, 113, 0], [255, 255, 255, 0]),
            line("br-f203ccdce951", [10, 210, 7, 0], [255, 255, 255, 0]),
            line("br-lan", [10, 9, 0, 0], [255, 255, 0, 0]),
            line("docker0", [172, 29, 0, 0], [255, 255, 0, 0]),
            line("cni0", [10, 244, 1, 0], [255, 255, 255, 0]),
            line("docker0", [0, 0, 0, 0], [0, 0, 0, 0]),
        ]
        .concat();
        let v6 = "fd8700000000000000000000000000aa 40 0 0 0 0 0 0 0  docker0\n\
                  20010db8000000000000000000000000 40 0 0 0 0 0 0 0     eth0\n\
                  00000000000000000000000000000000 00 0 0 0 0 0 0 0  docker0\n\
                  nonsense\n";
        let machine = Machine::of(&v4, v6);
        for bad in [
            "10.210.7.2",
            "172.29.3.4",
            "10.244.1.255",
            "::ffff:10.210.7.2",
            "64:ff9b::ad2:702",
            "fd87::1",
        ] {
            assert_eq!(
                machine.refuses(address(bad)),
                Some("a container on the platform's machine"),
                "{bad}"
            );
        }
        for good in [
            "10.210.8.2",
            "203.0.113.9",
            "10.9.3.4",
            "10.244.2.1",
            "2001:db8::7",
            "fd87:0:0:1::1",
        ] {
            assert_eq!(machine.refuses(address(good)), None, "{good}");
        }
    }

    #[test]
    fn every_address_of_the_machine_is_its_own() {
        // Whatever the way to the world begins with; there may be none.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let mut own = vec![address("127.0.0.1")];
        if socket
            .connect((Ipv4Addr::new(198, 51, 100, 1), PORT))
            .is_ok()
        {
            own.push(socket.local_addr().unwrap().ip());
        }
        for own in own {
            let refused = Machine::default().refuses(own);
            assert_eq!(refused, Some("the platform's own machine"), "{own}");
        }
        assert_eq!(Machine::default().refuses(address("198.51.100.1")), None);
    }
}
