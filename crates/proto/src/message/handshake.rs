//! Said before anything else, or at any time by either end. Frozen for ever.

use serde::{Deserialize, Serialize};

use crate::{
    code::Code,
    ids::Resumable,
    text::{Agent, Detail},
    version::{Version, Versions},
};

use super::both::required;

/// The first words of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The versions it speaks.
    pub versions: Versions,
    /// A bit for each optional feature it offers; none are defined yet. Unknown bits are ignored.
    pub features: u32,
    /// Which program it is.
    pub agent: Agent,
}

/// The server's answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    /// The version spoken from here on: the highest both have.
    pub version: Version,
    /// The features both have.
    pub features: u32,
    /// What the server accepts.
    pub limits: Limits,
    /// After how many milliseconds of sending nothing the client has to send a [`Ping`].
    pub keepalive_ms: u32,
}

/// What a server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The largest `length` of a frame, in bytes, once the client is let in.
    pub frame: u32,
    /// The bytes of a text.
    pub text: u32,
}

/// The last words on a connection, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Goodbye {
    /// Why.
    pub code: Code,
    /// The same for people.
    pub detail: Detail,
    /// After how many seconds another try makes sense.
    #[serde(deserialize_with = "required")]
    pub retry_after_s: Option<u32>,
    /// Whether the ticket is still good, as far as the one who parts can tell.
    pub resumable: Resumable,
}

/// A request was refused. `ref` says which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Error {
    /// Why.
    pub code: Code,
    /// The same for people.
    pub detail: Detail,
}

/// Is anybody there? The answer is a [`Pong`] with the same `ref`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Ping {}

/// Yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Pong {}
