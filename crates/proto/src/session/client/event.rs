//! What goes into a client's session first, and what it learns.

use crate::{
    code::Code,
    error::DecodeError,
    ids::{CallId, Seq, Side, Ticket},
    message::{Goodbye, Join, Message, Ref, SignOn, Welcome},
    text::Text,
};

/// What a client asks for first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A place in the queue.
    Join(Join),
    /// To answer callers.
    SignOn(SignOn),
    /// To go on where an earlier process was: on this side, with its ticket.
    Resume(Side, Ticket),
}

/// What a client learns.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// The server speaks this protocol.
    Welcomed(Welcome),
    /// Something for the person or program that uses the client: any message to a caller or an
    /// operator, or an `Error`. The reference is the one the request was made with.
    Told(Ref, Message),
    /// A line will not be said, or nobody can tell here any more whether it was.
    NotSaid {
        /// The call it was meant for.
        call: CallId,
        /// The line.
        text: Text,
        /// The reference it was given.
        reference: Ref,
        /// Why; `None` when it may have been said: it was sent, and its entry can't come any more.
        why: Option<Code>,
    },
    /// The connection is of no more use, but what was begun on it isn't lost: a new one may be
    /// [`connected`](super::ClientSession::connected). Unsaid lines are kept for it.
    Offline(Lost),
    /// Nothing follows.
    Over(Lost),
}

/// Why a connection is of no more use.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Lost {
    /// The server parted.
    #[error("the server said goodbye: {}", .0.detail)]
    Goodbye(Goodbye),
    /// The server did not answer in time.
    #[error("the server did not answer")]
    NoAnswer,
    /// Nothing was heard for too long.
    #[error("nothing was heard from the server for 45 s")]
    Silent,
    /// The connection ended without a goodbye.
    #[error("the connection broke")]
    Broken,
    /// What came is not this protocol.
    #[error("what answers there is not a Helpline server: {0}")]
    NotHelpline(DecodeError),
    /// An entry is missing between two that came.
    #[error("an entry is missing behind number {}", .0.0)]
    Gap(Seq),
}

/// The call isn't open on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call is not open")]
pub struct NotOpen;
