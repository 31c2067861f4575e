//! Addresses: subnets out of the pool for projects, and addresses out of a subnet for pods. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Prefix length of a project's network.
pub(crate) const PROJECT_PREFIX: u8 = 24;

/// A block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Subnet {
    first: u32,
    prefix: u8,
}

impl Subnet {
    /// The block of `prefix` bits that `address` is in.
    pub(crate) fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self {
            first: u32::from(address) & mask(prefix),
            prefix,
        }
    }

    /// Reads `10.1.2.0/24`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let prefix: u8 = prefix.parse().ok().filter(|p| *p <= 32)?;
        Some(Self::new(address.parse().ok()?, prefix))
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        let prefix = self.prefix.min(other.prefix);
        (self.first ^ other.first) & mask(prefix) == 0
    }

    pub(crate) fn contains(self, address: Ipv4Addr) -> bool {
        (self.first ^ u32::from(address)) & mask(self.prefix) == 0
    }

    /// The address that the host has in it.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.first + 1)
    }

    pub(crate) fn last(self) -> u32 {
        self.first | !mask(self.prefix)
    }

    /// The `/24`s of a pool that overlap none of `taken`, in order.
    pub(crate) fn free_within(self, taken: &[Self]) -> impl Iterator<Item = Self> + use<'_> {
        let step = 1_u64 << (32 - PROJECT_PREFIX);
        let (from, to) = (u64::from(self.first), u64::from(self.last()));
        (from..=to)
            .step_by(usize::try_from(step).unwrap_or(usize::MAX))
            .filter_map(|first| u32::try_from(first).ok())
            .map(move |first| Self {
                first,
                prefix: PROJECT_PREFIX.max(self.prefix),
            })
            .filter(move |candidate| !taken.iter().any(|t| t.overlaps(*candidate)))
    }

    /// The next free address for a pod, after `last`, going round. Addresses are used again as late as
    /// possible, so that nobody who still has an old one in mind reaches a new pod.
    pub(crate) fn next_address(
        self,
        last: Option<Ipv4Addr>,
        taken: &BTreeSet<Ipv4Addr>,
    ) -> Option<Ipv4Addr> {
        // Not the network's own address, the gateway, or the broadcast address.
        let (low, high) = (self.first + 2, self.last().checked_sub(1)?);
        if low > high {
            return None;
        }
        let start = last
            .map(u32::from)
            .filter(|a| (low..high).contains(a))
            .map_or(low, |a| a + 1);
        (start..=high)
            .chain(low..start)
            .map(Ipv4Addr::from)
            .find(|address| !taken.contains(address))
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.first), self.prefix)
    }
}

const fn mask(prefix: u8) -> u32 {
    if prefix == 0 {
        0
    } else {
        u32::MAX << (32 - prefix as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pool_gives_its_subnets_once_each() {
        let pool = Subnet::parse("10.210.0.0/16").unwrap();
        assert_eq!(pool.free_within(&[]).count(), 256);
        let taken = [
            Subnet::parse("10.210.0.0/24").unwrap(),
            Subnet::parse("10.210.1.128/25").unwrap(),
        ];
        let next = pool.free_within(&taken).next().unwrap();
        assert_eq!(next.to_string(), "10.210.2.0/24");
        assert_eq!(next.gateway().to_string(), "10.210.2.1");
        assert_eq!(
            pool.free_within(&[Subnet::parse("10.0.0.0/8").unwrap()])
                .count(),
            0
        );
    }

    proptest! {
        #[test]
        fn addresses_are_unique_until_none_is_left(start in proptest::option::of(any::<u8>())) {
            let subnet = Subnet::parse("10.9.8.0/24").unwrap();
            let mut taken = BTreeSet::new();
            let mut last = start.map(|b| Ipv4Addr::new(10, 9, 8, b));
            for _ in 0..253 {
                let address = subnet.next_address(last, &taken).unwrap();
                prop_assert!(address != subnet.gateway());
                prop_assert!(address.octets()[3] >= 2 && address.octets()[3] <= 254);
                prop_assert!(taken.insert(address));
                last = Some(address);
            }
            prop_assert_eq!(subnet.next_address(last, &taken), None);
        }
    }
}
