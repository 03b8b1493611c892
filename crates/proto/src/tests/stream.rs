//! Messages through a stream that may be cut anywhere.

use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    frame, limits,
    message::{Message, Ref},
};

use super::{any, cases, whole};

fn messages() -> impl Strategy<Value = Vec<(Ref, Message)>> {
    vec((any::<u32>().prop_map(Ref), any::message()), 1..12)
}

fn written(messages: &[(Ref, Message)]) -> Vec<u8> {
    let mut bytes = bytes::BytesMut::new();
    for (reference, message) in messages {
        message.encode(*reference, &mut bytes).unwrap();
    }
    bytes.to_vec()
}

/// The bytes in segments that end where `cuts` say.
fn segments<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut begin = 0;
    let segments = ends.into_iter().map(|end| &bytes[std::mem::replace(&mut begin, end)..end]);
    segments.collect()
}

/// As the server reads: split what is there, keep the rest.
fn read_by_split(segments: &[&[u8]]) -> Vec<(Ref, Message)> {
    let mut rest = Vec::new();
    let mut read = Vec::new();
    for segment in segments {
        rest.extend_from_slice(segment);
        let mut used = 0;
        while let Some(frame) = frame::split(&rest[used..], limits::FRAME).unwrap() {
            read.push((frame.reference, Message::decode(frame).unwrap()));
            used += frame.size();
        }
        rest.drain(..used);
    }
    assert!(rest.is_empty());
    read
}

#[cfg(feature = "codec")]
fn read_by_codec(segments: &[&[u8]]) -> Vec<(Ref, Message)> {
    use tokio_util::codec::Decoder as _;
    let mut codec = crate::codec::Codec::default();
    let mut bytes = bytes::BytesMut::new();
    let mut read = Vec::new();
    for segment in segments {
        bytes.extend_from_slice(segment);
        while let Some((reference, message)) = codec.decode(&mut bytes).unwrap() {
            read.push((reference, message.unwrap()));
        }
    }
    assert!(codec.decode_eof(&mut bytes).unwrap().is_none());
    read
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn any_message_reads_back(message in any::message(), reference: u32) {
        let frame = message.to_frame(Ref(reference)).unwrap();
        prop_assert_eq!(whole(&frame).reference, Ref(reference));
        prop_assert_eq!(Message::decode(whole(&frame)), Ok(message));
    }

    #[test]
    fn messages_cut_anywhere_come_out_equal(messages in messages(), cuts in vec(any::<Index>(), 0..30)) {
        let bytes = written(&messages);
        let segments = segments(&bytes, &cuts);
        prop_assert_eq!(&read_by_split(&segments), &messages);
        #[cfg(feature = "codec")]
        prop_assert_eq!(&read_by_codec(&segments), &messages);
    }
}

#[cfg(feature = "codec")]
mod length_delimited {
    use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
    use tokio_util::codec::{Decoder as _, Encoder as _, LengthDelimitedCodec};

    use super::*;
    use crate::codec::{Codec, CodecError};

    /// The framing of this protocol, said in the words of `tokio-util`.
    fn theirs() -> LengthDelimitedCodec {
        LengthDelimitedCodec::builder()
            .big_endian()
            .length_field_type::<u32>()
            .max_frame_length(limits::FRAME as usize)
            .new_codec()
    }

    proptest! {
        #![proptest_config(cases(128))]

        #[test]
        fn what_is_written_here_is_read_there(messages in messages()) {
            let mut bytes = BytesMut::from(written(&messages).as_slice());
            let mut theirs = theirs();
            for (reference, message) in messages {
                let mut frame = theirs.decode(&mut bytes).unwrap().unwrap();
                let own = message.to_frame(reference).unwrap();
                prop_assert_eq!(frame.get_u16(), message.kind().number);
                prop_assert_eq!(frame.get_u32(), reference.0);
                prop_assert_eq!(&frame[..], whole(&own).body);
            }
            prop_assert!(theirs.decode_eof(&mut bytes).unwrap().is_none());
        }

        #[test]
        fn what_is_written_there_is_read_here(messages in messages()) {
            let mut bytes = BytesMut::new();
            for (reference, message) in &messages {
                let own = message.to_frame(*reference).unwrap();
                let mut frame = BytesMut::new();
                frame.put_u16(message.kind().number);
                frame.put_u32(reference.0);
                frame.put_slice(whole(&own).body);
                theirs().encode(frame.freeze(), &mut bytes).unwrap();
            }
            prop_assert_eq!(read_by_codec(&[&bytes]), messages);
        }
    }

    #[test]
    fn a_codec_reserves_nothing_for_a_claim() {
        let mut bytes = BytesMut::from(&limits::FRAME.to_be_bytes()[..]);
        let before = bytes.capacity();
        assert!(Codec::default().decode(&mut bytes).unwrap().is_none());
        assert_eq!(bytes.capacity(), before);
        let refused = Codec::new(limits::FRAME_BEFORE).decode(&mut bytes);
        assert!(matches!(refused, Err(CodecError::Frame(_))));
    }

    #[test]
    fn a_stream_that_ends_within_a_frame_is_an_error() {
        let mut bytes = BytesMut::from(&[0, 0, 0, 6, 0, 5, 0][..]);
        assert!(matches!(Codec::default().decode_eof(&mut bytes), Err(CodecError::Io(_))));
    }

    #[test]
    fn an_encoded_frame_passes_as_it_is() {
        let mut out = BytesMut::new();
        let frame = Bytes::from_static(&[0, 0, 0, 6, 0, 5, 0, 0, 0, 9]);
        Codec::default().encode(frame.clone(), &mut out).unwrap();
        Codec::default()
            .encode((Ref(9), &Message::from(crate::message::Ping {})), &mut out)
            .unwrap();
        assert_eq!(out, [frame.clone(), frame].concat());
    }
}
