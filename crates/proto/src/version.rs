//! Versions of the protocol, and how two sides agree on one.

use serde::{Deserialize, Serialize};

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(transparent)]
pub struct Version(pub u16);

/// The version described here.
pub const CURRENT: Version = Version(1);

/// The versions this crate speaks.
pub const SPOKEN: Versions = Versions { lowest: CURRENT, highest: CURRENT };

/// The name to offer in TLS's application-layer protocol negotiation.
pub const ALPN: &[u8] = b"helpline/1";

/// A range of versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The lowest one spoken.
    pub lowest: Version,
    /// The highest one spoken.
    pub highest: Version,
}

impl Versions {
    /// The highest version both ranges contain.
    #[must_use]
    pub fn highest_common(self, other: Self) -> Option<Version> {
        let highest = self.highest.min(other.highest);
        (highest >= self.lowest.max(other.lowest)).then_some(highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(lowest: u16, highest: u16) -> Versions {
        Versions { lowest: Version(lowest), highest: Version(highest) }
    }

    #[test]
    fn the_highest_common_version_is_taken() {
        assert_eq!(range(1, 3).highest_common(range(2, 9)), Some(Version(3)));
        assert_eq!(range(4, 9).highest_common(range(1, 4)), Some(Version(4)));
        assert_eq!(range(1, 2).highest_common(range(3, 4)), None);
        assert_eq!(
            range(2, 1).highest_common(range(0, 9)),
            None,
            "an empty range has nothing in common"
        );
    }
}
