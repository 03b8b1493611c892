//! The numbered messages.
//!
//! A body never changes: a different body is a new kind, and a number is never used again. The
//! fields of every message stand in its own file: [`handshake`], [`caller`], [`operator`], [`both`].

use bytes::{Bytes, BytesMut};

use crate::{
    error::{DecodeError, EncodeError},
    frame::{self, Frame},
    version::{self, Version},
    wire,
};

pub use self::{
    both::{
        Away, Back, Connected, EndSeen, Ended, HangUp, IsTyping, Joined, Left, Listed, Resume,
        Resumed, Said, Say, Shown, Typing,
    },
    caller::{Admitted, Busy, Closed, Join, Place, WaitSeconds},
    handshake::{Error, Goodbye, Hello, Limits, Ping, Pong, Welcome},
    operator::{
        Answer, Ban, Banned, Board, Invite, Invited, Next, Offer, Pause, PutBack, Ready, SignOff,
        SignOn, Talk, Waiter, Withdrawn,
    },
};

pub mod both;
pub mod caller;
pub mod handshake;
pub mod operator;
#[cfg(test)]
pub(crate) mod samples;

/// Ties an answer to its question: the asker chooses it, 0 means unasked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Ref(pub u32);

impl Ref {
    /// Nobody asked.
    pub const NONE: Self = Self(0);
}

/// Who sends a message to whom. Numbers are given out in blocks by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Either end to the other, 1–15, frozen for ever.
    Both,
    /// A caller, or anyone in a call, to the server, 32–63.
    FromCaller,
    /// An operator to the server, 64–95.
    FromOperator,
    /// The server to anyone in a call, 128–159.
    ToCaller,
    /// The server to an operator, 160–191.
    ToOperator,
}

impl Direction {
    /// Whether a server may receive it.
    #[must_use]
    pub fn reaches_server(self) -> bool {
        matches!(self, Self::Both | Self::FromCaller | Self::FromOperator)
    }

    /// Whether a client may receive it.
    #[must_use]
    pub fn reaches_client(self) -> bool {
        matches!(self, Self::Both | Self::ToCaller | Self::ToOperator)
    }
}

/// One row of the table of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its number in the frame's header.
    pub number: u16,
    /// Its name in JSON, used once among the messages that reach a server, and once among those
    /// that reach a client.
    pub name: &'static str,
    /// Who sends it to whom.
    pub direction: Direction,
    /// The version that brought it.
    pub since: Version,
}

impl Kind {
    /// The row with this number.
    #[must_use]
    pub fn numbered(number: u16) -> Option<Self> {
        KINDS.iter().find(|kind| kind.number == number).copied()
    }
}

macro_rules! messages {
    ($($(#[$doc:meta])* $number:literal $type:ident $name:literal $direction:ident;)*) => {
        /// Any message of the protocol.
        #[derive(Clone, Debug, PartialEq)]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        pub enum Message {
            $($(#[$doc])* $type($type),)*
        }

        /// The table of messages, by rising number.
        pub const KINDS: &[Kind] = &[$(Kind {
            number: $number,
            name: $name,
            direction: Direction::$direction,
            since: version::CURRENT,
        }),*];

        impl Message {
            /// Its row in the table.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$type(_) => Kind {
                        number: $number,
                        name: $name,
                        direction: Direction::$direction,
                        since: version::CURRENT,
                    },)*
                }
            }

            /// Reads the message in a frame.
            ///
            /// # Errors
            /// No message has the frame's number, or the body isn't exactly one.
            pub fn decode(frame: Frame<'_>) -> Result<Self, DecodeError> {
                match frame.kind {
                    $($number => wire::read($name, frame.body).map(Self::$type),)*
                    unknown => Err(DecodeError::UnknownKind(unknown)),
                }
            }

            fn write_body(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
                match self {
                    $(Self::$type(body) => wire::write($name, body, out),)*
                }
            }

            #[cfg(feature = "json")]
            pub(crate) fn body_to_json(&self) -> Result<Box<serde_json::value::RawValue>, serde_json::Error> {
                match self {
                    $(Self::$type(body) => serde_json::value::to_raw_value(body),)*
                }
            }

            #[cfg(feature = "json")]
            pub(crate) fn body_from_json(number: u16, body: &str) -> Result<Self, DecodeError> {
                match number {
                    $($number => serde_json::from_str(body)
                        .map(Self::$type)
                        .map_err(|error| DecodeError::Body { name: $name, reason: error.to_string() }),)*
                    unknown => Err(DecodeError::UnknownKind(unknown)),
                }
            }

            /// Every kind with at least one example of it: a kind without doesn't compile.
            #[cfg(test)]
            pub(crate) fn samples() -> Vec<(Kind, Vec<Self>)> {
                vec![$({
                    let samples: Vec<Self> = <$type as samples::Samples>::samples()
                        .into_iter()
                        .map(Self::$type)
                        .collect();
                    (samples[0].kind(), samples)
                }),*]
            }
        }

        $(impl $type {
            /// Its number in the frame's header.
            pub const NUMBER: u16 = $number;
        })*

        $(impl From<$type> for Message {
            fn from(body: $type) -> Self {
                Self::$type(body)
            }
        })*
    };
}

messages! {
    /// The first words of a client.
    1 Hello "hello" Both;
    /// The server's answer to `Hello`.
    2 Welcome "welcome" Both;
    /// The last words on a connection, and why.
    3 Goodbye "goodbye" Both;
    /// A request was refused.
    4 Error "error" Both;
    /// Is anybody there?
    5 Ping "ping" Both;
    /// Yes.
    6 Pong "pong" Both;
    /// A caller asks for a place.
    32 Join "join" FromCaller;
    /// Asks for an entry.
    33 Say "say" FromCaller;
    /// Ends the call.
    34 HangUp "hang_up" FromCaller;
    /// Its sender is typing.
    35 Typing "typing" FromCaller;
    /// The end of the call has been shown.
    36 EndSeen "end_seen" FromCaller;
    /// Somebody who was let in before comes back.
    37 Resume "resume" FromCaller;
    /// An operator signs on.
    64 SignOn "sign_on" FromOperator;
    /// The operator takes the oldest waiting call.
    65 Next "next" FromOperator;
    /// The operator takes the call that was offered.
    66 Answer "answer" FromOperator;
    /// The operator is available.
    67 Ready "ready" FromOperator;
    /// The operator takes a break.
    68 Pause "pause" FromOperator;
    /// The operator leaves; a call in progress is put back.
    69 SignOff "sign_off" FromOperator;
    /// The operator bans a caller's address.
    70 Ban "ban" FromOperator;
    /// The operator wants an invitation.
    71 Invite "invite" FromOperator;
    /// The caller or operator has been let in.
    128 Admitted "admitted" ToCaller;
    /// The caller's place in the queue.
    129 Place "place" ToCaller;
    /// The two sides of a call are connected.
    130 Connected "connected" ToCaller;
    /// An entry: something was said, and is recorded.
    131 Said "said" ToCaller;
    /// An entry: a side has joined the call.
    132 Joined "joined" ToCaller;
    /// An entry: a side has left the call, which goes on.
    133 Left "left" ToCaller;
    /// The last entry: the call is over.
    134 Ended "ended" ToCaller;
    /// The other side is typing.
    135 IsTyping "typing" ToCaller;
    /// Every place is taken.
    136 Busy "busy" ToCaller;
    /// The line takes no callers.
    137 Closed "closed" ToCaller;
    /// The connection of the other side ended.
    138 Away "away" ToCaller;
    /// The other side has a connection again.
    139 Back "back" ToCaller;
    /// The caller or operator is back: its calls.
    140 Resumed "resumed" ToCaller;
    /// Somebody waits for an answer.
    160 Offer "offer" ToOperator;
    /// What was offered no longer is.
    161 Withdrawn "withdrawn" ToOperator;
    /// The state of the line.
    162 Board "board" ToOperator;
    /// The operator's call waits again.
    163 PutBack "put_back" ToOperator;
    /// A caller's address is banned.
    164 Banned "banned" ToOperator;
    /// An invitation, to be given away.
    165 Invited "invited" ToOperator;
}

impl Message {
    /// Writes the message as a frame behind what `out` holds.
    ///
    /// # Errors
    /// It is larger than [`limits::FRAME`](crate::limits::FRAME); `out` is then as it was.
    pub fn encode(&self, reference: Ref, out: &mut BytesMut) -> Result<(), EncodeError> {
        let kind = self.kind();
        let start = out.len();
        out.extend_from_slice(&[0; frame::HEADER]);
        let written = self.write_body(out).and_then(|()| {
            let body = out.len() - start - frame::HEADER;
            frame::header(kind.number, reference, body)
                .map_err(|error| EncodeError { name: kind.name, reason: error.to_string() })
        });
        match written {
            Ok(header) => {
                let place = out.iter_mut().skip(start);
                place.zip(header).for_each(|(place, byte)| *place = byte);
                Ok(())
            }
            Err(error) => {
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// The message as a frame of its own.
    ///
    /// # Errors
    /// As for [`encode`](Self::encode).
    pub fn to_frame(&self, reference: Ref) -> Result<Bytes, EncodeError> {
        let mut out = BytesMut::with_capacity(128);
        self.encode(reference, &mut out)?;
        Ok(out.freeze())
    }
}
