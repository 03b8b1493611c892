//! Bytes that are no message: a typed error, every time, and nothing else.

use crate::{
    code::Code,
    error::{DecodeError, FrameError},
    frame, limits,
    message::{Answer, Board, Hello, Join, KINDS, Kind, Message, Ping, Said, Say, SignOn},
};

use super::{framed, frames, whole};

fn decoded(kind: u16, body: &[u8]) -> Result<Message, DecodeError> {
    let bytes = framed(kind, body);
    Message::decode(whole(&bytes))
}

fn is_bad_body(result: &Result<Message, DecodeError>) -> bool {
    matches!(result, Err(error @ DecodeError::Body { .. }) if error.code() == Code::BAD_BODY)
}

/// One value has one encoding: what decodes at all encodes to the same bytes.
fn decodes_to_itself_or_not_at_all(kind: u16, body: &[u8]) {
    if let Ok(message) = decoded(kind, body) {
        let again = message.to_frame(crate::message::Ref(1)).unwrap();
        assert_eq!(whole(&again).body, body, "{message:?}");
    }
}

#[test]
fn every_strict_prefix_of_a_frame_waits_for_more() {
    for (.., bytes) in frames() {
        for end in 0..bytes.len() {
            assert_eq!(frame::split(&bytes[..end], limits::FRAME), Ok(None));
        }
    }
}

#[test]
fn every_strict_prefix_of_a_body_is_refused() {
    for (kind, .., bytes) in frames() {
        let body = whole(&bytes).body;
        for end in 0..body.len() {
            let result = decoded(kind.number, &body[..end]);
            assert!(is_bad_body(&result), "{} cut at {end}: {result:?}", kind.name);
        }
    }
}

#[test]
fn leftover_bytes_are_refused() {
    for (kind, .., bytes) in frames() {
        for extra in [1, 2, 300] {
            let mut body = whole(&bytes).body.to_vec();
            body.resize(body.len() + extra, 0);
            let result = decoded(kind.number, &body);
            assert_eq!(result, Err(DecodeError::LeftOver { name: kind.name, left: extra }));
        }
    }
}

#[test]
fn a_header_that_lies_about_its_length_is_seen_through() {
    for (kind, _, message, bytes) in frames() {
        let length = u32::try_from(bytes.len() - 4).unwrap();
        let stream = [&bytes[4..], &bytes[..]].concat();
        for claimed in (0..length + 40).chain([limits::FRAME, limits::FRAME + 1, 1 << 31, u32::MAX])
        {
            let lying = [&claimed.to_be_bytes()[..], &stream].concat();
            match frame::split(&lying, limits::FRAME) {
                Err(FrameError::TooShort { .. }) => assert!(claimed < 6),
                Err(FrameError::TooLong { .. }) => assert!(claimed > limits::FRAME),
                Ok(None) => assert!(claimed as usize > lying.len() - 4),
                Ok(Some(frame)) if claimed == length => {
                    assert_eq!(Message::decode(frame), Ok(message.clone()));
                }
                Ok(Some(frame)) => {
                    let error = Message::decode(frame).unwrap_err();
                    assert_eq!(error.code(), Code::BAD_BODY, "{} at {claimed}", kind.name);
                }
            }
        }
    }
}

const LIES: [u64; 10] = [
    1 << 63,
    1 << 60,
    1 << 32,
    1 << 31,
    1 << 20,
    u64::MAX,
    i64::MAX as u64,
    limits::FRAME as u64,
    limits::FRAME as u64 + 1,
    u64::MAX - 7,
];

#[test]
fn a_count_that_lies_is_refused() {
    let counts: [(Kind, &[u8]); 3] = [
        // What stands before the count.
        (Kind::numbered(Say::NUMBER).unwrap(), &[7; 20]),
        (Kind::numbered(Hello::NUMBER).unwrap(), &[1, 0, 1, 0, 0, 0, 0, 0]),
        (Kind::numbered(Board::NUMBER).unwrap(), &[0; 4]),
    ];
    for (kind, before) in counts {
        for lie in LIES {
            for behind in [0, 1, 100, 1000] {
                let body = [before, &lie.to_le_bytes(), &vec![b'x'; behind]].concat();
                let result = decoded(kind.number, &body);
                assert!(is_bad_body(&result), "{} with {lie}: {result:?}", kind.name);
            }
        }
    }
}

#[test]
fn a_lie_anywhere_is_no_panic() {
    for (kind, .., bytes) in frames() {
        let body = whole(&bytes).body;
        for at in 0..body.len().saturating_sub(7) {
            for lie in LIES {
                let mut body = body.to_vec();
                body[at..at + 8].copy_from_slice(&lie.to_le_bytes());
                decodes_to_itself_or_not_at_all(kind.number, &body);
            }
        }
    }
}

#[test]
fn one_wrong_byte_anywhere_is_no_panic() {
    for (kind, .., bytes) in frames() {
        let body = whole(&bytes).body;
        for at in 0..body.len() {
            for byte in [0, 1, 2, 3, 0x0a, 0x20, 0x7f, 0x80, 0xbf, 0xc0, 0xf4, 0xff, body[at] ^ 1] {
                let mut body = body.to_vec();
                body[at] = byte;
                decodes_to_itself_or_not_at_all(kind.number, &body);
            }
        }
    }
}

#[test]
fn unknown_kinds_are_told_by_their_number() {
    let known: Vec<u16> = KINDS.iter().map(|kind| kind.number).collect();
    for number in (0..=u16::MAX).filter(|number| !known.contains(number)) {
        let error = decoded(number, b"whatever").unwrap_err();
        assert_eq!(error, DecodeError::UnknownKind(number));
        assert_eq!(error.code(), Code::UNKNOWN_KIND);
    }
}

#[test]
fn the_table_keeps_its_blocks_and_its_order() {
    use crate::message::Direction::{Both, FromCaller, FromOperator, ToCaller, ToOperator};
    assert!(KINDS.is_sorted_by(|one, next| one.number < next.number));
    for kind in KINDS {
        let block = match kind.direction {
            Both => 1..=15,
            FromCaller => 32..=63,
            FromOperator => 64..=95,
            ToCaller => 128..=159,
            ToOperator => 160..=191,
        };
        assert!(block.contains(&kind.number), "{kind:?}");
        assert_eq!(Kind::numbered(kind.number), Some(*kind));
        let twins = KINDS.iter().filter(|other| {
            other.name == kind.name
                && (other.direction.reaches_server() == kind.direction.reaches_server()
                    || other.direction.reaches_client() == kind.direction.reaches_client())
        });
        assert_eq!(twins.count(), 1, "{kind:?} shares its name");
    }
}

/// The frame of the first sample of a kind, its body changed.
fn changed(number: u16, change: impl FnOnce(&mut Vec<u8>)) -> Result<Message, DecodeError> {
    let (.., bytes) = frames().into_iter().find(|(kind, ..)| kind.number == number).unwrap();
    let mut body = whole(&bytes).body.to_vec();
    change(&mut body);
    decoded(number, &body)
}

fn string(string: &[u8]) -> Vec<u8> {
    [&(string.len() as u64).to_le_bytes(), string].concat()
}

#[test]
fn invalid_strings_are_refused() {
    let utf8: [&[u8]; 5] = [b"\xff", b"\xc3", b"a\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"];
    for bad in utf8 {
        assert!(is_bad_body(&decoded(Say::NUMBER, &[&[7; 20][..], &string(bad)].concat())));
    }
    let long = "x".repeat(limits::TEXT + 1);
    for bad in ["", &long] {
        assert!(is_bad_body(&decoded(
            Say::NUMBER,
            &[&[7; 20][..], &string(bad.as_bytes())].concat()
        )));
    }
    let join = |name: &str| {
        decoded(Join::NUMBER, &[&[7; 32][..], &[0], &string(name.as_bytes()), &[0]].concat())
    };
    assert!(join("Wei").is_ok());
    let long = "x".repeat(limits::NAME + 1);
    for bad in ["", " ", " Wei", "Wei\n", "-Wei", "a\tb", "a\u{202e}b", "\u{feff}a", &long] {
        assert!(is_bad_body(&join(bad)), "{bad:?}");
    }
    let dialled = |line: &str| {
        let body = [&[7; 32][..], &[1], &string(line.as_bytes()), &string(b"Wei"), &[0]].concat();
        decoded(Join::NUMBER, &body)
    };
    assert!(dialled("main").is_ok());
    for bad in ["", "../x", "-x", "x y", "é"] {
        assert!(is_bad_body(&dialled(bad)), "{bad:?}");
    }
}

#[test]
fn invalid_tags_are_refused() {
    // An option's one byte.
    for tag in 2..=u8::MAX {
        assert!(is_bad_body(&changed(Join::NUMBER, |body| body[32] = tag)));
    }
    // An enum's four bytes.
    for tag in [2_u32, 3, 255, 256, 1 << 16, u32::MAX] {
        let said = changed(Said::NUMBER, |body| body[20..24].copy_from_slice(&tag.to_le_bytes()));
        assert!(is_bad_body(&said), "{tag}");
        let at = 32 + 8 + "Ada".len();
        let sign_on =
            changed(SignOn::NUMBER, |body| body[at..at + 4].copy_from_slice(&tag.to_le_bytes()));
        assert!(is_bad_body(&sign_on), "{tag}");
    }
    assert!(changed(Said::NUMBER, |body| body[20] = 1).is_ok());
    assert!(changed(Answer::NUMBER, |body| body[0] = 0xff).is_ok());
}

/// Pseudo-random bytes, the same every time.
fn noise(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32).to_le_bytes()[0]
    }
}

#[test]
fn a_quarter_of_a_mebibyte_of_noise_is_no_stream() {
    for seed in 1..=8 {
        let mut noise = noise(seed * 0x9e37_79b9);
        let bytes: Vec<u8> = std::iter::repeat_with(&mut noise).take(32 * 1024).collect();
        for start in 0..bytes.len() {
            if let Ok(Some(frame)) = frame::split(&bytes[start..], limits::FRAME) {
                drop(Message::decode(frame));
            }
        }
    }
}

#[test]
fn noise_in_a_well_made_frame_is_no_message_or_a_canonical_one() {
    let mut noise = noise(42);
    for round in 0..200 {
        for kind in KINDS {
            let length = usize::from(noise()) % 160;
            let mut body: Vec<u8> = std::iter::repeat_with(&mut noise).take(length).collect();
            if round % 2 == 0 {
                // Small counts and tags get further.
                body.iter_mut().for_each(|byte| *byte %= 4);
            }
            decodes_to_itself_or_not_at_all(kind.number, &body);
        }
    }
}

#[test]
fn the_largest_messages_fit_a_frame_and_larger_ones_are_not_written() {
    use crate::{
        ids::{CallId, Nonce},
        message::{Talk, Waiter},
        text::{Name, Text},
        time::UnixMillis,
    };
    let call = CallId([0xff; 16]);
    let text = Text::new("\u{10ffff}".repeat(limits::TEXT / 4)).unwrap();
    let say = Message::from(Say { call, nonce: Nonce(1), text });
    assert!(say.to_frame(crate::message::Ref(1)).unwrap().len() < 17 * 1024);

    let name = Name::new("é".repeat(limits::NAME / 2)).unwrap();
    let since = UnixMillis(0);
    let board = |talking: usize| {
        Message::from(Board {
            waiting: u32::MAX,
            first: vec![Waiter { call, name: name.clone(), since }; limits::BOARD_FIRST],
            talking: vec![
                Talk { call, name: name.clone(), operator: name.clone(), since };
                talking
            ],
        })
    };
    let fullest = board(limits::BOARD_TALKING).to_frame(crate::message::Ref(1)).unwrap();
    assert_eq!(Message::decode(whole(&fullest)), Ok(board(limits::BOARD_TALKING)));

    let mut out = bytes::BytesMut::from(&b"before"[..]);
    let refused = board(1000).encode(crate::message::Ref(1), &mut out).unwrap_err();
    assert_eq!(refused.name, "board");
    assert_eq!(&out[..], b"before", "what could not be written leaves nothing behind");
}

#[test]
fn what_comes_before_a_seat_fits_the_smaller_limit() {
    for (kind, .., bytes) in frames() {
        if matches!(kind.number, Ping::NUMBER | Hello::NUMBER | Join::NUMBER | SignOn::NUMBER) {
            assert!(matches!(frame::split(&bytes, limits::FRAME_BEFORE), Ok(Some(_))));
        }
    }
    let longest = 32 + (8 + limits::NAME) + 4 + (1 + 8 + limits::SECRET) + (1 + 8 + limits::NAME);
    assert!(longest + 6 < limits::FRAME_BEFORE as usize);
}
