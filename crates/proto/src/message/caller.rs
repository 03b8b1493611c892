//! Said by a caller, and to one, about being let in and waiting.

use serde::{Deserialize, Serialize};

use crate::{
    code::Why,
    ids::{CallId, Nonce, Ticket},
    text::{LineName, Name, Secret, Text},
};

use super::both::required;

/// A caller asks for a place. The answer is [`Admitted`], [`Busy`], [`Closed`] or a goodbye.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The caller's secret for this call.
    pub ticket: Ticket,
    /// The line dialled; none for the server's own.
    #[serde(deserialize_with = "required")]
    pub line: Option<LineName>,
    /// What the caller wants to be called.
    pub name: Name,
    /// An invitation, for lines that ask for one.
    #[serde(deserialize_with = "required")]
    pub invite: Option<Secret>,
}

/// The caller or operator has been let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Admitted {
    /// The line reached.
    pub line: LineName,
    /// Under which name.
    pub name: Name,
    /// What the line has to say first.
    #[serde(deserialize_with = "required")]
    pub greeting: Option<Text>,
}

/// The caller's place in the queue, on joining and when it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The caller's call.
    pub call: CallId,
    /// 1 is next.
    pub position: u32,
    /// How many wait, this caller included.
    pub waiting: u32,
    /// An honest guess at the wait; none while there is nothing to base it on.
    #[serde(deserialize_with = "required")]
    pub wait_s: Option<WaitSeconds>,
    /// The nonce the caller's next `Say` must have.
    pub next_nonce: Nonce,
}

/// A guess at a wait: from the lower to the higher bound, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct WaitSeconds(pub u32, pub u32);

/// Every place is taken. The connection ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Busy {
    /// Why.
    pub why: Why,
    /// After how many seconds another try makes sense.
    pub retry_after_s: u32,
    /// The wait there would have been; none while there is nothing to base it on.
    #[serde(deserialize_with = "required")]
    pub wait_s: Option<WaitSeconds>,
}

/// The line takes no callers. The connection ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// Why.
    pub why: Why,
    /// After how many seconds another try makes sense; none if nobody knows.
    #[serde(deserialize_with = "required")]
    pub retry_after_s: Option<u32>,
    /// As in [`Busy`].
    #[serde(deserialize_with = "required")]
    pub wait_s: Option<WaitSeconds>,
}
