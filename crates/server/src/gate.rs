//! Who is kept out: what the core has last read, for those who accept connections.

use std::{
    net::IpAddr,
    sync::{PoisonError, RwLock},
};

use helpline_proto::time::UnixMillis;

use crate::network::Network;

/// A network that nothing is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Which.
    pub network: Network,
    /// Until when.
    pub until: UnixMillis,
}

/// The bans in force. The core sets them, whoever accepts a connection asks.
#[derive(Debug, Default)]
pub struct Gate(RwLock<Vec<Ban>>);

impl Gate {
    /// Until when nothing is taken from an address, if that is so.
    #[must_use]
    pub fn banned(&self, address: IpAddr, at: UnixMillis) -> Option<UnixMillis> {
        let bans = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let met = bans.iter().filter(|ban| ban.until > at && ban.network.contains(address));
        met.map(|ban| ban.until).max()
    }

    /// From now on these are in force, and no others.
    pub fn set(&self, bans: Vec<Ban>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = bans;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_ban_counts_until_it_ends() {
        let gate = Gate::default();
        let ban = |network: &str, until| Ban {
            network: network.parse().unwrap(),
            until: UnixMillis(until),
        };
        gate.set(vec![ban("192.0.2.7", 10), ban("192.0.2.0/24", 20)]);
        let banned = |address: &str, at| gate.banned(address.parse().unwrap(), UnixMillis(at));
        assert_eq!(banned("192.0.2.7", 0), Some(UnixMillis(20)));
        assert_eq!(banned("192.0.2.7", 20), None);
        assert_eq!(banned("192.0.3.1", 0), None);
        gate.set(Vec::new());
        assert_eq!(banned("192.0.2.7", 0), None);
    }
}
