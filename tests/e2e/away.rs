//! A connection that merely ends: its party is away, and what it holds is kept.

use std::time::{Duration, Instant};

use helpline_proto::{
    code::Code,
    ids::{By, Side},
    message::{Message, Next, Ping, SignOff},
};
use helpline_tests::{Got, Peer, Server, wait_within};

fn count(peer: &Peer, of: impl Fn(&Message) -> bool) -> usize {
    peer.pending().filter(|message| of(message)).count()
}

/// Asks for the next caller until somebody is given, and says after which time. Meanwhile the answers are errors
/// with this code.
fn next_once_allowed(operator: &mut Peer, meanwhile: Code) -> Duration {
    let begun = Instant::now();
    let mut reference = 1000;
    wait_within(Duration::from_secs(200), "the next caller", || {
        reference += 1;
        operator.ask(reference, Next {});
        match operator.expect_answer(reference) {
            Message::Connected(_) => Some(()),
            Message::Error(error) => {
                assert_eq!(error.code, meanwhile, "{error:?}");
                std::thread::sleep(Duration::from_millis(200));
                None
            }
            other => panic!("{other:?}"),
        }
    });
    begun.elapsed()
}

#[test]
fn n12_a_reset_connection_is_a_caller_who_is_away_and_loses_nothing() {
    let mut server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    Peer::chat(&mut caller, &mut operator, "before");
    let begun = Instant::now();
    caller.reset();
    let away = operator.expect_away();
    let took = begun.elapsed();
    println!("away after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!((away.call, away.from), (operator.call(), Side::Caller));
    assert!(server.is_running());
    // What is said to somebody who is away is recorded, and there when they are back.
    operator.say("are you still there?");
    operator.expect_text("are you still there?");

    let resumed = caller.come_back();
    assert_eq!(resumed.calls.len(), 1);
    assert_eq!(resumed.calls[0].call, operator.call());
    assert_eq!(operator.expect_back().from, Side::Caller);
    assert_eq!(caller.expect_connected().peer.as_str(), "Wei");
    caller.expect_text("are you still there?");
    Peer::chat(&mut caller, &mut operator, "after");
    assert_eq!(caller.entries(), operator.entries(), "both have all of it, once and in order");
    assert_eq!(server.calls().len(), 1);
}

#[test]
fn n12_a_waiting_caller_whose_connection_is_reset_keeps_the_place() {
    let server = Server::start();
    let [mut ada, mut bea, mut cleo] =
        ["Ada", "Bea", "Cleo"].map(|name| Peer::caller(server.address(), name));
    for (caller, position) in [(&mut ada, 1), (&mut bea, 2), (&mut cleo, 3)] {
        assert_eq!(caller.expect_place().position, position);
    }
    bea.say("my story");
    bea.expect_text("my story");
    bea.reset();
    ada.go_away();
    cleo.settle();
    assert_eq!(count(&cleo, |told| matches!(told, Message::Place(_))), 0, "nobody has moved");
    bea.come_back();
    let place = bea.expect_place();
    assert_eq!((place.position, place.waiting), (2, 3));
    ada.come_back();
    assert_eq!(ada.expect_place().position, 1);
    // And the line goes on as if nothing had been.
    let mut operator = Peer::operator(server.address(), "Wei");
    for (caller, name) in [(&mut ada, "Ada"), (&mut bea, "Bea"), (&mut cleo, "Cleo")] {
        assert_eq!(operator.expect_connected().peer.as_str(), name, "first come, first served");
        caller.expect_connected();
        Peer::chat(caller, &mut operator, name);
        operator.hang_up();
        caller.expect_ended();
        caller.end_seen();
        operator.expect_ended();
        operator.end_seen();
    }
    assert_eq!(bea.heard(), ["my story", "Bea?", "Bea!"]);
}

#[test]
fn an_operator_who_is_reset_is_away_and_has_the_call_again_when_back() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    operator.reset();
    let away = caller.expect_away();
    assert_eq!((away.call, away.from), (caller.call(), Side::Operator));
    caller.say("hello?");
    caller.expect_text("hello?");
    let resumed = operator.come_back();
    assert_eq!(resumed.calls[0].call, caller.call());
    assert_eq!(operator.expect_connected().peer.as_str(), "Ada");
    operator.expect_text("hello?");
    assert_eq!(caller.expect_back().from, Side::Operator);
    Peer::chat(&mut caller, &mut operator, "again");
    assert_eq!(caller.entries(), operator.entries());
}

#[test]
fn both_sides_may_be_away_at_once() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    Peer::chat(&mut caller, &mut operator, "before");
    caller.vanish();
    operator.expect_away();
    operator.vanish();
    // The first one back learns that the other one isn't.
    caller.come_back();
    caller.expect_connected();
    assert_eq!(caller.expect_away().from, Side::Operator);
    caller.say("anybody?");
    operator.come_back();
    operator.expect_text("anybody?");
    operator.settle();
    assert_eq!(count(&operator, |told| matches!(told, Message::Away(_))), 0, "she is there");
    assert_eq!(caller.expect_back().from, Side::Operator);
    Peer::chat(&mut caller, &mut operator, "after");
    assert_eq!(caller.entries(), operator.entries());
}

#[test]
fn callers_who_are_away_count_when_every_place_is_taken() {
    let server = Server::with().places(2).start();
    let mut ada = Peer::caller(server.address(), "Ada");
    let mut bea = Peer::caller(server.address(), "Bea");
    ada.expect_place();
    bea.expect_place();
    ada.go_away();
    bea.reset();
    Peer::joining(server.address(), "Cleo").expect_busy();
    // Their places are theirs, however often they come and go.
    for position in [1, 2] {
        let caller = if position == 1 { &mut ada } else { &mut bea };
        caller.come_back();
        assert_eq!(caller.expect_place().position, position);
    }
    Peer::joining(server.address(), "Cleo").expect_busy();
    ada.hang_up();
    ada.expect_ended();
    assert_eq!(Peer::caller(server.address(), "Cleo").expect_place().position, 2);
    assert_eq!(server.calls().len(), 3, "nothing is kept of who was refused");
}

#[test]
fn a_caller_who_is_away_is_not_offered_and_those_behind_wait_a_little() {
    let server = Server::start();
    let mut operator = Peer::operator_by_hand(server.address(), "Wei");
    let mut ada = Peer::caller(server.address(), "Ada");
    let call = ada.expect_place().call;
    assert_eq!(operator.expect_offer().call, call);
    ada.vanish();
    assert_eq!(operator.expect_withdrawn().call, call);
    let mut bea = Peer::caller(server.address(), "Bea");
    bea.expect_place();
    // Ada may be back in a moment: nobody is taken before her.
    operator.ask(7, Next {});
    let Message::Error(error) = operator.expect_answer(7) else { panic!("{}", operator.seen()) };
    assert_eq!(error.code, Code::NOBODY_WAITING);
    assert!(error.detail.as_str().contains("first in line"), "{error:?}");
    operator.ask(8, helpline_proto::message::Answer { call });
    let Message::Error(error) = operator.expect_answer(8) else { panic!("{}", operator.seen()) };
    assert_eq!(error.code, Code::NOT_OFFERED);
    assert_eq!(count(&operator, |told| matches!(told, Message::Offer(_))), 0);
    ada.come_back();
    assert_eq!(operator.expect_offer().call, call, "there she is");
    operator.next();
    assert_eq!(operator.expect_connected().peer.as_str(), "Ada");
}

#[test]
fn the_first_in_line_is_waited_for_20_seconds_then_the_next_who_is_there_is_answered() {
    let server = Server::start();
    let mut ada = Peer::caller(server.address(), "Ada");
    ada.expect_place();
    let mut bea = Peer::caller(server.address(), "Bea");
    bea.expect_place();
    let begun = Instant::now();
    ada.go_away();
    let mut operator = Peer::operator(server.address(), "Wei");
    assert_eq!(operator.expect_connected().peer.as_str(), "Bea");
    let took = begun.elapsed();
    println!("passed over after {took:?}");
    assert!(took >= Duration::from_secs(19), "{took:?}");
    assert!(took < Duration::from_secs(200), "{took:?}");
    bea.expect_connected();
    // The place is still hers, before all who came later.
    let mut cleo = Peer::caller(server.address(), "Cleo");
    assert_eq!(cleo.expect_place().position, 2);
    ada.come_back();
    assert_eq!(ada.expect_place().position, 1);
    bea.hang_up();
    operator.expect_ended();
    operator.end_seen();
    assert_eq!(operator.expect_connected().peer.as_str(), "Ada");
    Peer::chat(&mut ada, &mut operator, "at last");
}

#[test]
fn n09_an_operator_is_not_kept_by_a_caller_who_closed_and_the_next_is_connected() {
    let server = Server::start();
    let mut operator = Peer::operator_by_hand(server.address(), "Wei");
    let mut ada = Peer::caller(server.address(), "Ada");
    operator.expect_offer();
    operator.next();
    let first = operator.expect_connected().call;
    let mut bea = Peer::caller(server.address(), "Bea");
    bea.expect_place();
    ada.vanish();
    let begun = Instant::now();
    operator.expect_away();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Two replies that crossed her leaving are kept, and wait for her.
    operator.say("are you there?");
    operator.say("I have to go on");
    let took = next_once_allowed(&mut operator, Code::OCCUPIED);
    println!("let go after {took:?}");
    assert!(took >= Duration::from_secs(18), "{took:?}");
    assert_eq!(operator.expect_put_back().call, first);
    bea.expect_connected();
    Peer::chat(&mut bea, &mut operator, "hello");

    // Ada's place is the one she always had, and she hears all that was said meanwhile.
    let mut cleo = Peer::caller(server.address(), "Cleo");
    assert_eq!(cleo.expect_place().position, 2);
    ada.come_back();
    assert_eq!(ada.expect_place().position, 1);
    assert_eq!(ada.expect_left().name.as_str(), "Wei");
    assert_eq!(ada.heard(), ["are you there?", "I have to go on"]);
    bea.hang_up();
    operator.expect_ended();
    operator.end_seen();
    operator.next();
    assert_eq!(operator.expect_connected().peer.as_str(), "Ada");
    Peer::chat(&mut ada, &mut operator, "again");
    let texts = ["are you there?", "I have to go on", "again?", "again!"];
    assert!(ada.heard().ends_with(&texts), "{}", ada.seen());
    assert!(operator.heard().ends_with(&texts), "told from the start: {}", operator.seen());
}

#[test]
fn an_operator_who_answers_by_itself_goes_on_after_a_minute() {
    let server = Server::start();
    let (mut ada, mut operator) = Peer::pair(server.address());
    let mut bea = Peer::caller(server.address(), "Bea");
    bea.expect_place();
    let begun = Instant::now();
    ada.vanish();
    operator.expect_away();
    let put_back = wait_within(Duration::from_secs(200), "the call is put back", || {
        // Their clients ping, as they should.
        for peer in [&mut operator, &mut bea] {
            peer.send(Ping {});
        }
        match operator.next_within(Duration::from_millis(500)) {
            Got::Message(_, Message::PutBack(put_back)) => Some(put_back),
            Got::Message(..) | Got::Nothing => None,
            over => panic!("{over:?}"),
        }
    });
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(59), "{took:?}");
    assert_eq!(put_back.call, ada.call());
    assert_eq!(operator.expect_connected().peer.as_str(), "Bea");
    Peer::chat(&mut bea, &mut operator, "hello");
    ada.come_back();
    assert_eq!(ada.expect_place().position, 1);
}

#[test]
fn who_signs_off_while_the_caller_is_away_leaves_nobody_behind() {
    let server = Server::start();
    let (mut ada, mut operator) = Peer::pair(server.address());
    ada.vanish();
    operator.expect_away();
    operator.send(SignOff {});
    assert_eq!(operator.expect_over(), Got::End);
    let mut li = Peer::operator(server.address(), "Li");
    ada.come_back();
    assert_eq!(li.expect_connected().peer.as_str(), "Ada");
    ada.expect_connected();
    Peer::chat(&mut ada, &mut li, "hello");
    ada.hang_up();
    assert_eq!(li.expect_ended().by, By::Caller);
}
