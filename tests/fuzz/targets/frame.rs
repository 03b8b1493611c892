//! A stream of bytes: the first four say where it is cut, the rest is what comes.

use bytes::BytesMut;
use helpline_proto::{
    codec::{Codec, CodecError},
    error::{DecodeError, FrameError},
    frame, limits,
    message::{Message, Ref},
};
use tokio_util::codec::Decoder;

/// What a decoder reads from a stream: messages, and why it can't go on.
type Read = (Vec<(Ref, Result<Message, DecodeError>)>, Option<FrameError>);

pub(crate) fn frame(data: &[u8]) {
    let Some((cuts, stream)) = data.split_first_chunk::<4>() else { return };
    for limit in [limits::FRAME_BEFORE, limits::FRAME] {
        assert_eq!(in_pieces(cuts, stream, limit), whole(stream, limit));
    }
}

/// The stream as it is when all of it is there.
fn whole(stream: &[u8], limit: u32) -> Read {
    let mut items = Vec::new();
    let mut rest = stream;
    loop {
        match frame::split(rest, limit) {
            Ok(Some(frame)) => {
                let (ours, behind) = rest.split_at(frame.size());
                let length = ours.len() - 4;
                assert!(length <= limit as usize, "{length} bytes are over the limit");
                let header = frame::header(frame.kind, frame.reference, frame.body.len()).unwrap();
                assert_eq!([header.as_slice(), frame.body].concat(), ours);
                items.push((frame.reference, Message::decode(frame)));
                rest = behind;
            }
            Ok(None) => {
                assert!(rest.len() < 4 + limit as usize, "a frame that is there isn't seen");
                return (items, None);
            }
            Err(error) => return (items, Some(error)),
        }
    }
}

/// The same as it comes, with cuts after so many bytes, in turn.
fn in_pieces(cuts: &[u8], stream: &[u8], limit: u32) -> Read {
    let mut codec = Codec::new(limit);
    let mut buffer = BytesMut::new();
    let mut items = Vec::new();
    let mut cuts = cuts.iter().cycle();
    let mut rest = stream;
    while !rest.is_empty() {
        let cut = cuts.next().map_or(1, |cut| usize::from(*cut)).clamp(1, rest.len());
        let (piece, behind) = rest.split_at(cut);
        buffer.extend_from_slice(piece);
        rest = behind;
        let held = buffer.capacity();
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(CodecError::Frame(error)) => return (items, Some(error)),
                Err(error) => panic!("{error}"),
            }
        }
        assert!(buffer.capacity() <= held, "room was made for a claim");
    }
    (items, None)
}
