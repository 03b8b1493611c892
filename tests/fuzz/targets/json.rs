//! A message as JSON, from whoever can send a text.

use helpline_proto::{
    frame,
    json::{self, Reader},
    limits,
    message::Message,
};

pub(crate) fn json(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    for reader in [Reader::Server, Reader::Client] {
        let Ok((reference, message)) = json::decode(text, reader) else { continue };
        let written = json::encode(&message, reference).unwrap();
        assert_eq!(json::decode(&written, reader).unwrap(), (reference, message.clone()));
        // It is a frame, unless it is longer than any.
        if let Ok(bytes) = message.to_frame(reference) {
            let frame = frame::split(&bytes, limits::FRAME).unwrap().unwrap();
            assert_eq!(Message::decode(frame), Ok(message));
        }
    }
}
