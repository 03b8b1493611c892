//! Why something was refused, closed or ended: open sets of numbers whose unknown members survive.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! open_set {
    ($(#[$doc:meta])* $type:ident, $unknown:literal, $($(#[$member_doc:meta])* $member:ident = $number:literal, $name:literal;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        pub struct $type(pub u16);

        impl $type {
            $($(#[$member_doc])* pub const $member: Self = Self($number);)*

            /// Every member this version knows, with its name.
            pub const KNOWN: &[(Self, &'static str)] = &[$((Self::$member, $name)),*];

            /// The name, if this version knows it.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                Self::KNOWN.iter().find(|(member, _)| *member == self).map(|(_, name)| *name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, concat!($unknown, "{}"), self.0),
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({}, {})"), self.0, self)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if !deserializer.is_human_readable() {
                    return u16::deserialize(deserializer).map(Self);
                }
                let name = String::deserialize(deserializer)?;
                let known = Self::KNOWN.iter().find(|(_, known)| *known == name);
                known
                    .map(|(member, _)| *member)
                    .or_else(|| name.strip_prefix($unknown)?.parse().ok().map(Self))
                    .ok_or_else(|| de::Error::custom("no such name"))
            }
        }
    };
}

open_set! {
    /// Why a request was refused or a connection closed, sorted by blame: 1–99 the peer's bytes,
    /// 100–199 its timing, 200–299 what it asked for, 300–399 the server.
    ///
    /// A name in JSON (`code_N` for a number this version doesn't know), two bytes in bincode.
    Code, "code_",
    /// The bytes are not a frame.
    BAD_FRAME = 1, "bad_frame";
    /// The frame's body is not the message its number says, whole and with nothing left over.
    BAD_BODY = 2, "bad_body";
    /// The frame's length is above the limit in force.
    TOO_LARGE = 3, "too_large";
    /// No message has this number, in this version and direction.
    UNKNOWN_KIND = 4, "unknown_kind";
    /// The message has no place at this point of the conversation.
    OUT_OF_TURN = 5, "out_of_turn";
    /// The two sides have no version in common.
    NO_COMMON_VERSION = 6, "no_common_version";
    /// Joining, signing on or resuming took too long, or a frame that was begun was not finished.
    TOO_LATE = 100, "too_late";
    /// Nothing was heard for too long.
    SILENT = 101, "silent";
    /// Nothing was taken off the connection for too long.
    TOO_SLOW = 102, "too_slow";
    /// The end of a call was not answered in time.
    END_NOT_SEEN = 103, "end_not_seen";
    /// No line of this name is here.
    NO_SUCH_LINE = 200, "no_such_line";
    /// The ticket is in use.
    TICKET_IN_USE = 201, "ticket_in_use";
    /// Not a call of whoever asks.
    NO_SUCH_CALL = 202, "no_such_call";
    /// The call is over.
    CALL_ENDED = 203, "call_ended";
    /// Not the next nonce of this call and side.
    NONCE = 204, "nonce";
    /// Nobody waits.
    NOBODY_WAITING = 205, "nobody_waiting";
    /// The call is not offered to this operator.
    NOT_OFFERED = 206, "not_offered";
    /// The operator is in a call.
    OCCUPIED = 207, "occupied";
    /// The request belongs to the other kind of peer.
    NOT_ALLOWED = 208, "not_allowed";
    /// The call has as many entries as it can have.
    CALL_FULL = 209, "call_full";
    /// The ticket stands for nobody: its call is over, or its sign-on.
    NO_SUCH_TICKET = 210, "no_such_ticket";
    /// Another connection has come with the same ticket.
    SUPERSEDED = 211, "superseded";
    /// The call went back to the queue.
    PUT_BACK = 212, "put_back";
    /// The connection broke before an answer came; nobody knows what became of the request.
    UNANSWERED = 213, "unanswered";
    /// The server takes this only over TLS.
    NOT_ENCRYPTED = 214, "not_encrypted";
    /// No account has this name and token.
    NOT_RECOGNISED = 215, "not_recognised";
    /// The account was disabled or removed, or has another token.
    DISABLED = 216, "disabled";
    /// The line asks for an invitation, and this is none that holds.
    INVITATION = 217, "invitation";
    /// Nothing is taken from this address at the moment.
    BANNED = 218, "banned";
    /// There is too much from this address already.
    TOO_MANY = 219, "too_many";
    /// The caller has no address that can be banned.
    NO_ADDRESS = 220, "no_address";
    /// Nothing is wrong: this peer's part is over.
    DONE = 300, "done";
    /// The server stops.
    STOPPING = 301, "stopping";
    /// The server failed.
    INTERNAL = 302, "internal";
    /// The server had no room to record it, on its disk or in the queue for its database: nothing of it is recorded.
    DISK_FULL = 303, "disk_full";
}

open_set! {
    /// Why a call ended, or none was begun. A name in JSON (`why_N` for a number this version
    /// doesn't know), two bytes in bincode.
    Why, "why_",
    /// One side hung up.
    BYE = 1, "bye";
    /// The caller hung up before anybody answered.
    ABANDONED = 2, "abandoned";
    /// A connection was lost. Said only by servers from before calls outlived connections.
    LOST = 3, "lost";
    /// The line stops.
    STOPPING = 4, "stopping";
    /// Every place is taken.
    FULL = 5, "full";
    /// The caller was away for longer than the call is kept.
    TIMED_OUT = 7, "timed_out";
    /// The caller was banned.
    BANNED = 8, "banned";
    /// Too many callers of the same address wait already.
    TOO_MANY = 9, "too_many";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_used_once() {
        for (at, (code, name)) in Code::KNOWN.iter().enumerate() {
            for (other, other_name) in &Code::KNOWN[..at] {
                assert!(code != other && name != other_name, "{code}");
            }
        }
    }

    #[cfg(feature = "json")]
    #[test]
    fn an_unknown_code_survives_as_json() {
        let json = serde_json::to_string(&Code(999)).unwrap();
        assert_eq!(json, r#""code_999""#);
        assert_eq!(serde_json::from_str::<Code>(&json).unwrap(), Code(999));
        assert_eq!(serde_json::from_str::<Code>(r#""nonce""#).unwrap(), Code::NONCE);
        assert!(serde_json::from_str::<Code>(r#""code_70000""#).is_err());
    }
}
