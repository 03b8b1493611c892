//! Said by, and to, either side of a call.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    code::Why,
    ids::{By, CallId, Nonce, Seq, Side},
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
