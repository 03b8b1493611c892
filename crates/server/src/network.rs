//! Ranges of addresses: where somebody comes from, and who is banned.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A range of addresses in CIDR notation: `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`.
///
/// An IPv4 address inside IPv6 (`::ffff:192.0.2.7`) is the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// The first address of the range.
    first: IpAddr,
    /// How many leading bits all of its addresses share.
    bits: u8,
}

impl Network {
    /// What counts as one place of origin: an IPv4 address, or the /64 that one household has of IPv6.
    #[must_use]
    pub fn around(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of(IpAddr::V4(v4), 32),
            IpAddr::V6(v6) => Self::of(IpAddr::V6(v6), 64),
        }
    }

    fn of(address: IpAddr, bits: u8) -> Self {
        let first = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
        };
        Self { first, bits }
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && Self::of(address, self.bits) == *self
    }

    /// Whether it is of this machine alone.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.first.is_loopback()
    }
}

/// Why that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address and no network: 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32 would be")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(given: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(given.to_owned());
        let (address, bits) = match given.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (given, None),
        };
        let written: IpAddr = address.parse().map_err(|_| wrong())?;
        let address = written.to_canonical();
        let most: u8 = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            // Nobody means a prefix of the 128 bits around an IPv4 address.
            Some(_) if written != address => return Err(wrong()),
            Some(bits) => {
                let is_number = bits.bytes().all(|digit| digit.is_ascii_digit());
                let bits = bits.parse().ok().filter(|bits| is_number && *bits <= most);
                bits.ok_or_else(wrong)?
            }
        };
        Ok(Self::of(address, bits))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.first.is_ipv4() { 32 } else { 128 };
        if self.bits == whole {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}/{}", self.first, self.bits)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(written: &str) -> Network {
        written.parse().unwrap()
    }

    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        for (written, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.77/24", "192.0.2.1", "192.0.3.0"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::1", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ] {
            let network = network(written);
            assert!(network.contains(inside.parse().unwrap()), "{written} has {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{written} hasn't {outside}");
        }
        assert!(network("192.0.2.7").contains("::ffff:192.0.2.7".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in [
            "",
            "x",
            "192.0.2.7/33",
            "192.0.2.7/",
            "192.0.2.7/+8",
            "::/129",
            "1.2.3",
            "::ffff:1.2.3.4/96",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_household_is_one_place_of_origin() {
        let around = |address: &str| Network::around(address.parse().unwrap()).to_string();
        assert_eq!(around("192.0.2.7"), "192.0.2.7");
        assert_eq!(around("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(around("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert!(Network::around("127.0.0.9".parse().unwrap()).is_loopback());
    }

    proptest! {
        #[test]
        fn a_network_reads_back(address: IpAddr, bits in 0..=128_u8) {
            let address = address.to_canonical();
            let network = Network::of(address, if address.is_ipv4() { bits.min(32) } else { bits });
            prop_assert_eq!(network.to_string().parse(), Ok(network));
            prop_assert!(network.contains(address));
        }

        #[test]
        fn no_text_is_too_strange_to_be_refused(text: String) {
            let _ = text.parse::<Network>();
        }
    }
}
