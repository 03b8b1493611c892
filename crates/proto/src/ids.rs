//! Who and what is meant: calls, tickets, numbers and sides.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Names one call. Random, made by the server, opaque to everyone else.
///
/// 16 raw bytes in bincode, 32 hexadecimal digits in JSON and on screens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct CallId(pub [u8; 16]);

/// The secret that lets a caller or an operator resume: 32 random bytes made by the client.
///
/// The client saves it before it is sent; the server keeps only its hash. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Ticket(pub [u8; 32]);

/// The number of an entry in its call's transcript: dense, from 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(transparent)]
pub struct Seq(pub u32);

impl Seq {
    /// The number after this one; `None` when a call has run out of numbers.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

/// The number of a `Say`, rising by one per call and side from 1. It makes a resend harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(transparent)]
pub struct Nonce(pub u32);

impl Nonce {
    /// The first nonce of a side in a call.
    pub const FIRST: Self = Self(1);

    /// The number after this one; `None` when a side has run out of numbers.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

/// One of the two sides of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The person who asks for help.
    Caller,
    /// The person who answers.
    Operator,
}

impl Side {
    /// The other side of the call.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Operator,
            Self::Operator => Self::Caller,
        }
    }
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The caller did.
    Caller,
    /// The operator did.
    Operator,
    /// The server did, because it stops or was stopped.
    Server,
}

impl From<Side> for By {
    fn from(side: Side) -> Self {
        match side {
            Side::Caller => Self::Caller,
            Side::Operator => Self::Operator,
        }
    }
}

/// How a signed-on operator gets callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(rename_all = "snake_case")]
pub enum Answering {
    /// Callers are offered; the operator asks for the next one.
    ByHand,
    /// Whenever free, the operator is given the next caller.
    ByItself,
}

/// How often an invitation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(rename_all = "snake_case")]
pub enum Uses {
    /// For one call.
    Once,
    /// For any number of calls.
    Many,
}

/// Whether a client that was sent away may come back with its ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(rename_all = "snake_case")]
pub enum Resumable {
    /// What the ticket stood for is over.
    No,
    /// The place or the call is kept for the grace.
    Yes,
}

/// A string that should have been hexadecimal digits for a known number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {} hexadecimal digits", .0 * 2)]
pub struct HexError(pub(crate) usize);

/// The hexadecimal form of a type that wraps bytes.
macro_rules! hex_digits {
    ($type:ident, $len:literal) => {
        impl $type {
            /// Reads the hexadecimal form.
            ///
            /// # Errors
            /// Anything but exactly twice as many hexadecimal digits as there are bytes.
            pub fn from_hex(digits: &str) -> Result<Self, $crate::ids::HexError> {
                let mut bytes = [0; $len];
                if digits.len() != bytes.len() * 2 {
                    return Err($crate::ids::HexError($len));
                }
                for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
                    let nibble = |digit: u8| char::from(digit).to_digit(16);
                    let value = match pair {
                        [high, low] => {
                            nibble(*high).zip(nibble(*low)).map(|(high, low)| high << 4 | low)
                        }
                        _ => None,
                    };
                    *byte = value
                        .and_then(|value| u8::try_from(value).ok())
                        .ok_or($crate::ids::HexError($len))?;
                }
                Ok(Self(bytes))
            }

            /// The hexadecimal form, in lower case.
            #[must_use]
            pub fn to_hex(&self) -> String {
                use std::fmt::Write as _;
                self.0.iter().fold(String::new(), |mut out, byte| {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "{byte:02x}");
                    out
                })
            }
        }
    };
}

pub(crate) use hex_digits;

/// The same for what stands in messages: raw bytes in bincode, digits in JSON.
macro_rules! hex_bytes {
    ($type:ident, $len:literal) => {
        hex_digits!($type, $len);

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(&self.to_hex())
                } else {
                    // Byte by byte, each would cost as much as all of them this way.
                    let (words, _) = self.0.as_chunks();
                    let mut words = words.iter().copied().map(u128::from_le_bytes);
                    [(); $len / 16].map(|()| words.next().unwrap_or_default()).serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let digits = String::deserialize(deserializer)?;
                    Self::from_hex(&digits).map_err(de::Error::custom)
                } else {
                    let words = <[u128; $len / 16]>::deserialize(deserializer)?;
                    let mut bytes = [0; $len];
                    let (places, _) = bytes.as_chunks_mut();
                    places
                        .iter_mut()
                        .zip(words)
                        .for_each(|(place, word)| *place = word.to_le_bytes());
                    Ok(Self(bytes))
                }
            }
        }
    };
}

hex_bytes!(CallId, 16);
hex_bytes!(Ticket, 32);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({self})")
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_form_reads_back() {
        let id = CallId(*b"0123456789abcdef");
        assert_eq!(CallId::from_hex(&id.to_hex()), Ok(id));
        assert_eq!(CallId::from_hex("é"), Err(HexError(16)));
        assert!(CallId::from_hex(&"é".repeat(16)).is_err());
        assert!(CallId::from_hex(&"+f".repeat(16)).is_err());
    }

    #[test]
    fn a_ticket_is_not_printed() {
        assert_eq!(format!("{:?}", Ticket([7; 32])), "Ticket(…)");
    }
}
