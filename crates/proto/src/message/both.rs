//! Said by, and to, either side of a call.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    code::Why,
    ids::{By, CallId, Nonce, Seq, Side, Ticket},
    text::{Name, Text},
    time::UnixMillis,
};

/// Reads an `Option` whose field must be there: in JSON, `null` means none and leaving it out is an error.
pub(super) fn required<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// Asks for an entry. The answer is [`Said`] with this call and nonce, or an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Say {
    /// The call to say it in.
    pub call: CallId,
    /// The next nonce of this call and side.
    pub nonce: Nonce,
    /// What to say.
    pub text: Text,
}

/// Ends the call; a waiting caller gives up the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct HangUp {
    /// The call to end.
    pub call: CallId,
}

/// Its sender is typing. Told to the other side, never recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Typing {
    /// The call typed in.
    pub call: CallId,
}

/// The end of the call has been shown: the client's answer to [`Ended`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct EndSeen {
    /// The call that is over.
    pub call: CallId,
}

/// The two sides of a call are connected. For an operator the entries so far follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Connected {
    /// The call.
    pub call: CallId,
    /// The other side's name.
    pub peer: Name,
    /// The nonce that the receiver's next [`Say`] in this call must have.
    pub next_nonce: Nonce,
}

/// An entry: something was said, and is recorded. Delivery, echo and acknowledgement in one,
/// the same bytes for both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// The call.
    pub call: CallId,
    /// The entry's number.
    pub seq: Seq,
    /// Which side said it.
    pub from: Side,
    /// The speaker's name.
    pub name: Name,
    /// When it was recorded.
    pub at: UnixMillis,
    /// What was said.
    pub text: Text,
    /// The nonce of the [`Say`] that asked for it.
    pub nonce: Nonce,
}

/// An entry: a side has joined the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Joined {
    /// The call.
    pub call: CallId,
    /// The entry's number.
    pub seq: Seq,
    /// When it was recorded.
    pub at: UnixMillis,
    /// Which side.
    pub from: Side,
    /// Its name.
    pub name: Name,
}

/// An entry: a side has left the call, which goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Left {
    /// The call.
    pub call: CallId,
    /// The entry's number.
    pub seq: Seq,
    /// When it was recorded.
    pub at: UnixMillis,
    /// Which side.
    pub from: Side,
    /// Its name.
    pub name: Name,
}

/// The last entry: the call is over. The answer is [`EndSeen`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// The call.
    pub call: CallId,
    /// The entry's number.
    pub seq: Seq,
    /// When it was recorded.
    pub at: UnixMillis,
    /// Who ended it.
    pub by: By,
    /// Why.
    pub why: Why,
}

/// The other side of the call is typing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct IsTyping {
    /// The call.
    pub call: CallId,
    /// Which side.
    pub from: Side,
}

/// Somebody who was let in before comes back, on a new connection. The answer is
/// [`Admitted`](super::Admitted), then [`Resumed`]; or a goodbye, if the ticket stands for nobody (any
/// more).
///
/// An older connection of the same ticket is superseded: it hears a goodbye, and nothing it asks for is
/// heard any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// The secret it joined or signed on with.
    pub ticket: Ticket,
    /// Whether it joined or signed on.
    pub side: Side,
    /// What it has shown of its calls; what follows is told again. At most
    /// [`RESUMED_CALLS`](crate::limits::RESUMED_CALLS); a call that isn't here is told from the start.
    pub shown: Vec<Shown>,
}

/// How much of a call has been shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// The call.
    pub call: CallId,
    /// The last entry shown.
    pub seq: Seq,
}

/// The caller or operator is back. What it said in any other call, and doesn't know to be recorded, will
/// not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Resumed {
    /// Its calls: the caller's own, or those the operator is in. The entries it hasn't shown follow.
    pub calls: Vec<Listed>,
}

/// A call of somebody who resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// The call. It may be over: its end follows then.
    pub call: CallId,
    /// The nonce that the receiver's next [`Say`] must have: every line below it is recorded.
    pub next_nonce: Nonce,
    /// The number of its last entry so far; 0 while there is none.
    pub last: Seq,
}

/// The connection of the other side ended. Its place or call is kept for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Away {
    /// The call.
    pub call: CallId,
    /// Which side.
    pub from: Side,
}

/// The other side has a connection again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(deny_unknown_fields)]
pub struct Back {
    /// The call.
    pub call: CallId,
    /// Which side.
    pub from: Side,
}
