//! Frames for tokio-util's `Framed`: the bytes of [`frame`], one pass, no
//! allocation by a claimed length.

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::{
    error::{DecodeError, FrameError},
    frame, limits,
    message::{Message, Ref},
};

/// Turns a stream of bytes into messages, and messages into bytes.
///
/// A body that isn't a message is an item, not the end of the stream: the frame around it was whole.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    limit: u32,
}

impl Codec {
    /// Accepts frames whose `length` is at most `limit`: [`limits::FRAME_BEFORE`] or [`limits::FRAME`].
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { limit }
    }
}

impl Default for Codec {
    fn default() -> Self {
        Self::new(limits::FRAME)
    }
}

/// The stream can't be read on.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes are no frame that is accepted here.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The message is too large.
    #[error(transparent)]
    Encode(#[from] crate::error::EncodeError),
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Decoder for Codec {
    type Item = (Ref, Result<Message, DecodeError>);
    type Error = CodecError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Self::Item>, CodecError> {
        let Some(frame) = frame::split(bytes, self.limit)? else { return Ok(None) };
        let item = (frame.reference, Message::decode(frame));
        let size = frame.size();
        bytes.advance(size);
        Ok(Some(item))
    }
}

impl Encoder<(Ref, &Message)> for Codec {
    type Error = CodecError;

    fn encode(
        &mut self,
        (reference, message): (Ref, &Message),
        out: &mut BytesMut,
    ) -> Result<(), CodecError> {
        Ok(message.encode(reference, out)?)
    }
}

/// A frame that is encoded already.
impl Encoder<Bytes> for Codec {
    type Error = CodecError;

    fn encode(&mut self, frame: Bytes, out: &mut BytesMut) -> Result<(), CodecError> {
        out.extend_from_slice(&frame);
        Ok(())
    }
}
