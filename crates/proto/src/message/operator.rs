//! Said by an operator, and to one.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{Answering, CallId, Ticket, Uses},
    text::{Detail, Name, Secret},
    time::UnixMillis,
};

use super::both::required;

/// An operator signs on. The answer is [`Admitted`](super::Admitted) or a goodbye.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct SignOn {
    /// The operator's secret for this sign-on.
    pub ticket: Ticket,
    /// What callers will read.
    pub name: Name,
    /// How callers are to come.
    pub answering: Answering,
    /// The operator's token, where accounts exist.
    #[serde(deserialize_with = "required")]
    pub token: Option<Secret>,
}

/// The operator takes the oldest waiting call. The answer is
/// [`Connected`](super::Connected) or an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Next {}

/// The operator takes the call that was offered. The answer is
/// [`Connected`](super::Connected) or an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The call in the [`Offer`].
    pub call: CallId,
}

/// The operator is available: callers are offered, or given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Ready {}

/// The operator takes a break: nothing is offered or given until [`Ready`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Pause {}

/// The operator leaves. A call in progress is put back under its first queue number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct SignOff {}

/// The operator bans the address of a caller: of the own call, or as a supervisor of any. The call
/// ends with it. The answer is [`Banned`] or an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Ban {
    /// The caller's call.
    pub call: CallId,
    /// For how many seconds, 1 to [`BAN_LONGEST`](crate::limits::BAN_LONGEST); what is outside counts as the nearest.
    pub for_s: u32,
    /// Why, for those who run the server.
    pub reason: Detail,
}

/// The operator wants an invitation to give away. The answer is [`Invited`] or an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// How often it is to hold.
    pub uses: Uses,
    /// Until when; none for ever. One for [`Many`](Uses::Many) calls has to end.
    #[serde(deserialize_with = "required")]
    pub until: Option<UnixMillis>,
}

/// Somebody waits for an answer. The first operator to answer wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The call to answer.
    pub call: CallId,
    /// The caller's name.
    pub name: Name,
    /// How many wait.
    pub waiting: u32,
}

/// What was offered no longer is: it was answered elsewhere, or the caller left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Withdrawn {
    /// The call in the [`Offer`].
    pub call: CallId,
    /// The caller's name.
    pub name: Name,
    /// How many wait.
    pub waiting: u32,
}

/// The state of the line, on change, at most once a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// How many wait.
    pub waiting: u32,
    /// The first of them, at most [`BOARD_FIRST`](crate::limits::BOARD_FIRST).
    pub first: Vec<Waiter>,
    /// The calls talked on, oldest answer first, at most
    /// [`BOARD_TALKING`](crate::limits::BOARD_TALKING).
    pub talking: Vec<Talk>,
}

/// A waiting caller on a [`Board`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Waiter {
    /// The caller's call.
    pub call: CallId,
    /// The caller's name.
    pub name: Name,
    /// Since when.
    pub since: UnixMillis,
}

/// A call on a [`Board`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Talk {
    /// The call.
    pub call: CallId,
    /// The caller's name.
    pub name: Name,
    /// The operator's name.
    pub operator: Name,
    /// Since when they talk.
    pub since: UnixMillis,
}

/// The operator's call waits again, as its caller is away: it is no longer the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct PutBack {
    /// The call.
    pub call: CallId,
}

/// The address of a caller is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Banned {
    /// The caller's call.
    pub call: CallId,
    /// Until when.
    pub until: UnixMillis,
}

/// An invitation, to be given to whoever is to call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Invited {
    /// What the caller shows. The server keeps only its hash.
    pub code: Secret,
    /// Until when it holds; none for ever.
    #[serde(deserialize_with = "required")]
    pub until: Option<UnixMillis>,
}
