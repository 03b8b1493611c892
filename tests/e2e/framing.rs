//! One message is one message, however long it is and however the network cuts it.

use helpline_proto::{
    code::Code,
    limits,
    message::{EndSeen, HangUp, Message},
};
use helpline_tests::{Got, Peer, Server};
use serde_json::Value;

/// A character of each width in UTF-8.
const WIDTHS: [&str; 4] = ["x", "é", "€", "🦀"];

#[test]
fn n01_a_message_of_16_kib_is_one_message() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let text: String =
        (0..limits::TEXT).map(|n| char::from(b'!' + u8::try_from(n % 90).unwrap())).collect();
    caller.say(&text);
    caller.say("and another");
    let said = operator.expect_said();
    assert!(said.text.as_str() == text, "the text differs");
    assert_eq!(operator.expect_said().seq, said.seq.next().unwrap());
    assert_eq!(operator.heard().len(), 2);
    assert_eq!(caller.expect_said(), said, "both sides get the same");
    let kept = server.transcript(&caller.call().to_hex());
    assert!(kept[2]["body"]["text"] == text.as_str(), "the text kept differs");
}

/// Texts in which characters of every width end at every offset: near the beginning each offset is
/// the end of a text, and around every multiple of 1,024.
fn ending_everywhere() -> Vec<String> {
    let around = |middle: usize| middle - 4..=(middle + 4).min(limits::TEXT);
    let ends = (1..=1024).chain((2..=16).flat_map(|k| around(k * 1024)));
    let mut texts: Vec<String> = ends
        .flat_map(|end| {
            WIDTHS.iter().filter_map(move |character| {
                Some("a".repeat(end.checked_sub(character.len())?) + character)
            })
        })
        .collect();
    // Whole texts of one character, shifted until it has ended at every offset.
    for character in WIDTHS {
        for shift in 0..character.len() {
            let count = (limits::TEXT - shift) / character.len();
            texts.push("a".repeat(shift) + &character.repeat(count));
        }
    }
    texts
}

fn deliver_everywhere(speaker: &mut Peer, hearer: &mut Peer) {
    let texts = ending_everywhere();
    for batch in texts.chunks(16) {
        let says: Vec<Message> = batch.iter().map(|text| speaker.next_say(text)).collect();
        speaker.send_all(says);
        for text in batch {
            for peer in [&mut *hearer, &mut *speaker] {
                assert!(
                    peer.expect_said().text.as_str() == text,
                    "not intact: {} bytes",
                    text.len()
                );
            }
        }
    }
    // The network may cut anywhere: here, behind every byte.
    for character in WIDTHS {
        let text = character.repeat(4096 / character.len());
        let say = Peer::frame(&speaker.next_say(&text));
        speaker.send_in_pieces(&say, 1);
        assert!(hearer.expect_said().text.as_str() == text, "not intact, cut: {character}");
    }
}

#[test]
fn n02_a_character_may_end_anywhere_in_what_a_caller_says() {
    let server = Server::with().says(0).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    deliver_everywhere(&mut caller, &mut operator);
}

#[test]
fn n03_a_character_may_end_anywhere_in_what_a_caller_hears() {
    let server = Server::with().says(0).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    deliver_everywhere(&mut operator, &mut caller);
}

#[test]
fn a_text_beyond_the_limit_is_refused_by_the_server_too() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let say = caller.next_say(&"a".repeat(limits::TEXT));
    let mut frame = Peer::frame(&say).to_vec();
    frame.push(b'a');
    let length = u32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&length.to_be_bytes());
    let count = u64::try_from(limits::TEXT + 1).unwrap();
    frame[30..38].copy_from_slice(&count.to_le_bytes());
    caller.send_raw(&frame);
    assert_eq!(caller.expect_goodbye().code, Code::BAD_BODY);
    assert_eq!(caller.expect_over(), Got::End);
    operator.expect_away();
    assert_eq!(operator.heard(), Vec::<&str>::new());
}

#[test]
fn n05_a_thousand_messages_in_one_segment_stay_separate() {
    let server = Server::with().says(0).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    for count in [2, 3, 10, 100, 1000] {
        let texts: Vec<String> = (0..count).map(|n| format!("{n} of {count}")).collect();
        let says: Vec<Message> = texts.iter().map(|text| caller.next_say(text)).collect();
        caller.send_all(says);
        for text in &texts {
            assert_eq!(operator.expect_said().text.as_str(), text);
        }
    }
    caller.send_all([HangUp { call: caller.call() }.into()]);
    operator.expect_ended();
}

#[test]
fn n06_a_hang_up_in_two_segments_is_one_hang_up() {
    let server = Server::start();
    let mut operator = Peer::operator(server.address(), "Wei");
    let size = Peer::frame(&HangUp { call: helpline_proto::ids::CallId([0; 16]) }.into()).len();
    for cut in 1..size {
        let mut caller = Peer::caller(server.address(), "Ada");
        caller.expect_connected();
        let frame = Peer::frame(&HangUp { call: caller.call() }.into());
        caller.send_raw(&frame[..cut]);
        caller.send_raw(&frame[cut..]);
        caller.expect_ended();
        caller.end_seen();
        operator.expect_ended();
        operator.end_seen();
        assert_eq!(caller.expect_goodbye().code, Code::DONE);
        assert_eq!(caller.expect_over(), Got::End);
        assert_eq!(
            caller.pending().filter(|message| matches!(message, Message::Error(_))).count(),
            0
        );
    }
}

/// How the network cuts what is sent.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Every frame is a segment.
    Whole,
    /// Every byte is a segment.
    Bytes,
    /// All frames are one segment.
    Together,
}

fn send(peer: &mut Peer, cut: Cut, messages: &[Message]) {
    let frames: Vec<_> = messages.iter().map(Peer::frame).collect();
    match cut {
        Cut::Whole => frames.iter().for_each(|frame| peer.send_raw(frame)),
        Cut::Bytes => frames.iter().for_each(|frame| peer.send_in_pieces(frame, 1)),
        Cut::Together => peer.send_raw(&frames.concat()),
    }
}

/// A call from hello to hang-up, as it is kept, without what differs from call to call.
fn conversation(server: &Server, cut: Cut) -> Vec<Value> {
    let mut caller = Peer::connect(server.address());
    send(&mut caller, cut, &[Peer::hello(), Peer::join("Ada")]);
    caller.expect_place();
    let long = "€".repeat(5000);
    let mut asked: Vec<Message> = ["hello", "bye", "é", "🦀\n🦀", &long, "\u{1b}[2J", " "]
        .map(|text| caller.next_say(text))
        .to_vec();
    asked.push(HangUp { call: caller.call() }.into());
    send(&mut caller, cut, &asked);
    caller.expect_ended();
    let seen = EndSeen { call: caller.call() }.into();
    send(&mut caller, cut, &[seen]);
    assert_eq!(caller.expect_over(), Got::End);
    let mut kept = server.transcript(&caller.call().to_hex());
    for entry in &mut kept {
        let body = entry["body"].as_object_mut().unwrap();
        body.remove("call").unwrap();
        body.remove("at").unwrap();
    }
    kept
}

#[test]
fn however_the_network_cuts_it_the_transcript_is_the_same() {
    let server = Server::start();
    let whole = conversation(&server, Cut::Whole);
    assert_eq!(whole.len(), 1 + 7 + 1, "{whole:?}");
    assert_eq!(conversation(&server, Cut::Bytes), whole);
    assert_eq!(conversation(&server, Cut::Together), whole);
}
