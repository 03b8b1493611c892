//! What can be wrong with bytes, and which code says so to the peer who sent them.

use crate::code::Code;

/// The bytes are no frame that is accepted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length is above the limit in force.
    #[error("a frame of {length} bytes, at most {limit} are accepted")]
    TooLong {
        /// What the header claims.
        length: u32,
        /// What is accepted.
        limit: u32,
    },
    /// The length doesn't even cover the header.
    #[error("a frame of {length} bytes, at least 6 are needed")]
    TooShort {
        /// What the header claims.
        length: u32,
    },
}

/// A frame or a JSON text is not a message of this protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It isn't a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// No message has this number.
    #[error("no message has the number {0}")]
    UnknownKind(u16),
    /// No message in this direction has this name.
    #[error("no message is named {0:?}")]
    UnknownName(String),
    /// The body isn't this message.
    #[error("not a whole and valid {name}: {reason}")]
    Body {
        /// The message's name.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Bytes are left over behind the message.
    #[error("{left} bytes are left over behind {name}")]
    LeftOver {
        /// The message's name.
        name: &'static str,
        /// How many bytes.
        left: usize,
    },
    /// It is a message, but has no place at this point of the conversation.
    #[error("{0}")]
    OutOfTurn(String),
    /// The JSON text isn't an object with `kind`, `ref` and `body`, or is too long.
    #[error("not a message: {0}")]
    Json(String),
}

impl DecodeError {
    /// What the peer is told.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Frame(FrameError::TooLong { .. }) => Code::TOO_LARGE,
            Self::Frame(FrameError::TooShort { .. }) | Self::Json(_) => Code::BAD_FRAME,
            Self::UnknownKind(_) | Self::UnknownName(_) => Code::UNKNOWN_KIND,
            Self::OutOfTurn(_) => Code::OUT_OF_TURN,
            Self::Body { .. } | Self::LeftOver { .. } => Code::BAD_BODY,
        }
    }
}

/// A message cannot be written: it is larger than the peer would accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} cannot be written: {reason}")]
pub struct EncodeError {
    /// The message's name.
    pub name: &'static str,
    /// What is wrong.
    pub reason: String,
}
