//! What is said in a call, and when the other side has it.

use std::{
    thread,
    time::{Duration, Instant},
};

use helpline_proto::{
    code::{Code, Why},
    ids::{By, CallId, Nonce},
    message::{HangUp, Message, Say},
    text::Text,
};
use helpline_tests::{Got, Peer, Server};

#[test]
fn n14_on_the_wire_bye_is_a_word_and_hanging_up_is_a_message() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    for text in
        ["bye", "bye\n", "bye ", " bye", "Bye", "BYE", "bye\r\n", "bye!", "goodbye", "bye\0"]
    {
        caller.say(text);
        operator.expect_text(text);
        operator.say(text);
        caller.expect_text(text);
        caller.expect_text(text);
    }
    caller.hang_up();
    let ended = operator.expect_ended();
    assert_eq!((ended.by, ended.why), (By::Caller, Why::BYE));
    assert_eq!(caller.expect_ended(), ended);
}

#[test]
fn n16_both_sides_may_speak_at_once() {
    const LINES: usize = 300;
    let server = Server::with().says(0).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let speak = |peer: &mut Peer, own: &str, other: &str| {
        let mut waits = Vec::new();
        for n in 0..LINES {
            let begun = Instant::now();
            peer.say(&format!("{own} {n}"));
            peer.expect_text(&format!("{own} {n}"));
            waits.push(begun.elapsed());
        }
        for n in 0..LINES {
            peer.expect_text(&format!("{other} {n}"));
        }
        waits.sort();
        waits[LINES * 99 / 100]
    };
    let (asked, answered) = thread::scope(|scope| {
        let asked = scope.spawn(|| speak(&mut caller, "question", "answer"));
        let answered = scope.spawn(|| speak(&mut operator, "answer", "question"));
        (asked.join().unwrap(), answered.join().unwrap())
    });
    println!("said after (p99): caller {asked:?}, operator {answered:?}");
    assert!(asked.max(answered) < Duration::from_secs(1));
    assert_eq!(caller.entries(), operator.entries(), "both saw one order");
    let from_caller = caller.heard().iter().filter(|text| text.starts_with("question")).count();
    assert_eq!(
        (caller.heard().len(), from_caller),
        (2 * LINES, LINES),
        "nothing twice, nothing missing"
    );
}

#[test]
fn n17_the_caller_is_greeted_and_hears_an_operator_who_speaks_first() {
    let server = Server::with().greeting("welcome to the line").start();
    let mut operator = Peer::operator(server.address(), "Wei");
    let begun = Instant::now();
    let mut caller = Peer::joining(server.address(), "Ada");
    let admitted = caller.expect_admitted();
    let took = begun.elapsed();
    println!("greeted after {took:?}");
    assert_eq!(admitted.greeting.unwrap().as_str(), "welcome to the line");
    assert!(took < Duration::from_secs(1), "{took:?}");
    operator.expect_connected();
    operator.say("hello, how can I help?");
    caller.expect_text("hello, how can I help?");
}

#[test]
fn what_is_said_while_waiting_reaches_whoever_answers() {
    let server = Server::start();
    let mut caller = Peer::caller(server.address(), "Ada");
    caller.expect_place();
    caller.say("I am in danger");
    caller.expect_text("I am in danger");
    let mut operator = Peer::operator(server.address(), "Wei");
    operator.expect_text("I am in danger");
    Peer::chat(&mut caller, &mut operator, "now");
    assert_eq!(caller.entries(), operator.entries());
}

#[test]
fn a_resent_line_is_recorded_once_and_a_nonce_left_out_is_refused() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let first = caller.next_say("once");
    caller.send(first.clone());
    caller.expect_text("once");
    caller.ask(7, first);
    let Message::Error(error) = caller.expect_answer(7) else { panic!("{}", caller.seen()) };
    assert_eq!(error.code, Code::NONCE);
    let call = caller.call();
    caller.ask(8, Say { call, nonce: Nonce(9), text: Text::new("too early").unwrap() });
    assert!(matches!(caller.expect_answer(8), Message::Error(error) if error.code == Code::NONCE));
    caller.say("second");
    operator.expect_text("second");
    assert_eq!(operator.heard(), ["once", "second"]);
}

#[test]
fn nobody_speaks_in_anothers_call() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let mut stranger = Peer::caller(server.address(), "Eve");
    stranger.expect_place();
    for call in [caller.call(), CallId([7; 16])] {
        stranger.ask(1, Say { call, nonce: Nonce(1), text: Text::new("me too").unwrap() });
        assert!(
            matches!(stranger.expect_answer(1), Message::Error(error) if error.code == Code::NO_SUCH_CALL)
        );
        stranger.ask(2, HangUp { call });
        assert!(
            matches!(stranger.expect_answer(2), Message::Error(error) if error.code == Code::NO_SUCH_CALL)
        );
    }
    stranger.ask(3, helpline_proto::message::Next {});
    assert!(
        matches!(stranger.expect_answer(3), Message::Error(error) if error.code == Code::NOT_ALLOWED)
    );
    Peer::chat(&mut caller, &mut operator, "still us");
    assert_eq!(operator.heard(), ["still us?", "still us!"]);
}

#[test]
fn what_is_said_after_the_end_is_refused() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    operator.hang_up();
    caller.expect_ended();
    let late = caller.next_say("wait!");
    caller.ask(5, late);
    assert!(
        matches!(caller.expect_answer(5), Message::Error(error) if error.code == Code::CALL_ENDED)
    );
    caller.end_seen();
    assert_eq!(caller.expect_goodbye().code, Code::DONE);
    assert_eq!(caller.expect_over(), Got::End);
    operator.expect_ended();
    assert_eq!(server.transcript(&caller.call().to_hex()).len(), 3);
}
