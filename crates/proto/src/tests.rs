//! How the bytes are kept: what every message looks like for good, what becomes of bytes that are
//! none, and both sessions held against each other.

mod any;
mod frozen;
#[cfg(feature = "json")]
mod golden;
mod hostile;
#[cfg(feature = "json")]
mod json_form;
mod pair;
mod rules;
mod second_opinion;
#[cfg(feature = "json")]
mod spec;
mod stream;

use crate::{
    frame::{self, Frame},
    message::{Kind, Message, Ref},
};

/// Every sample of every kind, as the frame it is kept as: the reference is its place among its
/// kind's samples.
fn frames() -> Vec<(Kind, Ref, Message, Vec<u8>)> {
    let numbered = |(kind, samples): (Kind, Vec<Message>)| {
        (0..).zip(samples).map(move |(at, message)| {
            let bytes = message.to_frame(Ref(at)).unwrap().to_vec();
            (kind, Ref(at), message, bytes)
        })
    };
    Message::samples().into_iter().flat_map(numbered).collect()
}

/// The one frame that `bytes` are.
fn whole(bytes: &[u8]) -> Frame<'_> {
    let frame = frame::split(bytes, u32::MAX).unwrap().unwrap();
    assert_eq!(frame.size(), bytes.len());
    frame
}

/// A frame around whatever body.
fn framed(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = frame::header(kind, Ref(1), body.len()).unwrap().to_vec();
    bytes.extend(body);
    bytes
}

/// How many cases a property is tried with: `PROPTEST_CASES` for more than in passing.
pub(crate) fn cases(usually: u32) -> proptest::test_runner::Config {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    proptest::test_runner::Config {
        cases: asked.unwrap_or(usually),
        failure_persistence: None,
        ..Default::default()
    }
}
