//! Where one message begins and ends in a stream of bytes.
//!
//! ```text
//!  0        4      6          10
//!  | length | kind | ref      | body …
//!    u32      u16    u32        one message
//! ```
//! Big-endian. `length` counts what follows it: 6 bytes and the body.

use crate::{error::FrameError, limits, message::Ref};

/// Bytes before the body, `length` included.
pub const HEADER: usize = 10;

/// Bytes of `length` itself.
const LENGTH: usize = 4;

/// Bytes that `length` counts before the body.
const REST_OF_HEADER: u32 = 6;

/// One frame, still in the buffer it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The message's number.
    pub kind: u16,
    /// What ties an answer to its question.
    pub reference: Ref,
    /// The message itself.
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// How many bytes the frame took in the stream.
    #[must_use]
    pub fn size(&self) -> usize {
        HEADER + self.body.len()
    }
}

/// Finds the frame that `bytes` begin with; `None` while it isn't all there.
///
/// `limit` is the largest `length` accepted: [`limits::FRAME_BEFORE`] or [`limits::FRAME`].
///
/// # Errors
/// The length is impossible or above the limit. That shows in the first four bytes, before
/// anything is kept for the rest.
pub fn split(bytes: &[u8], limit: u32) -> Result<Option<Frame<'_>>, FrameError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    let Some(body) = length.checked_sub(REST_OF_HEADER) else {
        return Err(FrameError::TooShort { length });
    };
    let Some((kind, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
    let Some((reference, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let Some(body) = usize::try_from(body).ok().and_then(|body| rest.get(..body)) else {
        return Ok(None);
    };
    Ok(Some(Frame {
        kind: u16::from_be_bytes(*kind),
        reference: Ref(u32::from_be_bytes(*reference)),
        body,
    }))
}

/// The header of a frame with a body of `body` bytes.
///
/// # Errors
/// The frame would be longer than [`limits::FRAME`] allows.
pub fn header(kind: u16, reference: Ref, body: usize) -> Result<[u8; HEADER], FrameError> {
    let length = u32::try_from(body)
        .ok()
        .and_then(|body| body.checked_add(REST_OF_HEADER))
        .unwrap_or(u32::MAX);
    if length > limits::FRAME {
        return Err(FrameError::TooLong { length, limit: limits::FRAME });
    }
    let mut header = [0; HEADER];
    let parts =
        length.to_be_bytes().into_iter().chain(kind.to_be_bytes()).chain(reference.0.to_be_bytes());
    for (place, byte) in header.iter_mut().zip(parts) {
        *place = byte;
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back() {
        let mut bytes = header(0x0102, Ref(0x0304_0506), 3).unwrap().to_vec();
        assert_eq!(bytes, [0, 0, 0, 9, 1, 2, 3, 4, 5, 6]);
        bytes.extend(*b"abcdef");
        let frame = split(&bytes, limits::FRAME).unwrap().unwrap();
        assert_eq!(frame, Frame { kind: 0x0102, reference: Ref(0x0304_0506), body: b"abc" });
        assert_eq!(frame.size(), 13);
        for end in 0..13 {
            assert_eq!(split(&bytes[..end], limits::FRAME), Ok(None));
        }
    }

    #[test]
    fn a_length_is_judged_by_its_first_four_bytes() {
        assert!(matches!(split(b"GET ", limits::FRAME), Err(FrameError::TooLong { .. })));
        assert_eq!(
            split(&[0, 0, 4, 1], limits::FRAME_BEFORE),
            Err(FrameError::TooLong { length: 1025, limit: 1024 })
        );
        assert_eq!(split(&[0, 0, 4, 0], limits::FRAME_BEFORE), Ok(None));
        for length in 0..6 {
            assert_eq!(
                split(&[0, 0, 0, length], 64),
                Err(FrameError::TooShort { length: length.into() })
            );
        }
    }

    #[test]
    fn nothing_over_the_limit_is_written() {
        assert!(header(1, Ref(0), limits::FRAME as usize - 6).is_ok());
        assert!(header(1, Ref(0), limits::FRAME as usize - 5).is_err());
        assert!(header(1, Ref(0), usize::MAX).is_err());
    }
}
