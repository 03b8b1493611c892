//! The messages two strangers can always part with, byte by byte, written by hand.
//!
//! A golden of `tests/golden/frozen` that is taken anew after a change to these messages still
//! differs from what stands here; and whoever changes what stands here reads this sentence: the
//! kinds 1 to 15 never change, not even with a new version. A different body is a new kind.

use crate::{
    frame::split,
    limits,
    message::{Message, Ref},
};

/// Number, and the frame of each of its samples: length, kind, ref, then field by field.
const FROZEN: &[(u16, &[&str])] = &[
    (
        1, // hello: lowest, highest, features, agent
        &[
            "00000024 0001 00000000  0100 0100 00000000
             0e00000000000000 68656c706c696e652f302e312e30",
            "00000016 0001 00000001  0200 ffff 01000080 0000000000000000",
        ],
    ),
    (
        2, // welcome: version, features, frame, text, keepalive_ms
        &[
            "00000018 0002 00000000  0100 00000000 00000100 00400000 983a0000",
            "00000018 0002 00000001  0201 ffffffff 00000000 01000000 04030201",
        ],
    ),
    (
        3, // goodbye: code, detail, retry_after_s, resumable
        &[
            "00000015 0003 00000000  2c01 0000000000000000 00 00000000",
            "00000029 0003 00000001  2d01 1000000000000000 6261636b20696e2061206d696e757465
             01 1e000000 01000000",
        ],
    ),
    (
        4, // error: code, detail
        &[
            "00000023 0004 00000000  cc00 1300000000000000 746865206e657874206e6f6e63652069732038",
            "0000002a 0004 00000001  e703
             1a00000000000000 65696e207370c3a47465726572204665686c6572201b5b324a00",
        ],
    ),
    (5, &["00000006 0005 00000000"]), // ping
    (6, &["00000006 0006 00000000"]), // pong
];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

#[test]
fn the_frozen_kinds_are_the_bytes_they_always_were() {
    let frozen = Message::samples().into_iter().filter(|(kind, _)| kind.number <= 15);
    for ((kind, samples), (number, frames)) in frozen.zip(FROZEN) {
        assert_eq!(kind.number, *number);
        assert_eq!(samples.len(), frames.len());
        for ((at, message), frame) in (0..).zip(samples).zip(*frames) {
            let expected = bytes(frame);
            assert_eq!(message.to_frame(Ref(at)).unwrap(), expected, "{} is frozen", kind.name);
            let frame = split(&expected, limits::FRAME_BEFORE).unwrap().unwrap();
            assert_eq!(Message::decode(frame), Ok(message));
        }
    }
    let numbers = Message::samples().into_iter().map(|(kind, _)| kind.number);
    assert_eq!(numbers.filter(|number| *number <= 15).count(), FROZEN.len());
}

#[cfg(feature = "json")]
#[test]
fn the_frozen_goldens_are_kept_unchanged() {
    use super::golden::{LAST_FROZEN, committed};
    for (kind, frames) in Message::samples().into_iter().map(|(kind, _)| kind).zip(FROZEN) {
        let golden: Vec<Vec<u8>> = committed(kind).into_iter().map(|golden| golden.frame).collect();
        let expected: Vec<Vec<u8>> = frames.1.iter().map(|frame| bytes(frame)).collect();
        assert_eq!(
            golden, expected,
            "tests/golden/frozen/{:03}_{} is frozen",
            kind.number, kind.name
        );
        assert!(kind.number <= LAST_FROZEN);
    }
}
