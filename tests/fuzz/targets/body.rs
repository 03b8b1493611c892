//! A message: two bytes of its number, and a body.

use helpline_proto::{
    frame::{self, Frame},
    json::{self, Reader},
    limits,
    message::{Message, Ref},
};

pub(crate) fn body(data: &[u8]) {
    let Some((kind, body)) = data.split_first_chunk::<2>() else { return };
    let frame = Frame { kind: u16::from_be_bytes(*kind), reference: Ref(1), body };
    let Ok(message) = Message::decode(frame) else { return };
    assert_eq!(message.kind().number, frame.kind);

    // One value has one encoding.
    if body.len() + frame::HEADER - 4 <= limits::FRAME as usize {
        let written = message.to_frame(Ref(1)).unwrap();
        let read = frame::split(&written, limits::FRAME).unwrap().unwrap();
        assert_eq!(read, frame, "{message:?}");
    }

    match json::encode(&message, Ref(1)) {
        Ok(text) => {
            assert!(!text.contains('\n'), "{text}");
            let reaches = message.kind().direction;
            let readers = [
                (Reader::Server, reaches.reaches_server()),
                (Reader::Client, reaches.reaches_client()),
            ];
            for (reader, _) in readers.into_iter().filter(|(_, reached)| *reached) {
                assert_eq!(json::decode(&text, reader).unwrap(), (Ref(1), message.clone()));
            }
        }
        // Only lists get longer than a text of the largest size does.
        Err(error) => assert!(body.len() > limits::TEXT, "{error}"),
    }
}
