//! Nobody is waited for for ever: what follows when somebody is away for too long.

use std::{
    thread,
    time::{Duration, Instant},
};

use helpline_proto::{
    code::{Code, Why},
    ids::{By, Resumable},
    message::{Message, SignOff},
};
use helpline_tests::{Peer, Server, wait_until};

/// Longer than any story takes.
const LONG: u32 = 600;

/// Asserts that what a ticket stood for is over.
fn is_forgotten(peer: &mut Peer) {
    peer.ask_to_come_back();
    let goodbye = peer.expect_goodbye();
    assert_eq!((goodbye.code, goodbye.resumable), (Code::NO_SUCH_TICKET, Resumable::No));
}

/// The last entry of a call, once it is its end.
fn end(server: &Server, call: &str) -> (String, String) {
    wait_until("the call is over", || {
        let last = server.transcript(call).pop()?;
        let part = |part: &str| last["body"][part].as_str().unwrap_or_default().to_owned();
        (last["kind"] == "ended").then(|| (part("by"), part("why")))
    })
}

#[test]
fn a_waiting_caller_who_stays_away_loses_the_place() {
    let server = Server::with().graces(1, LONG, LONG).start();
    let mut ada = Peer::caller(server.address(), "Ada");
    ada.expect_place();
    let mut bea = Peer::caller(server.address(), "Bea");
    assert_eq!(bea.expect_place().position, 2);
    let begun = Instant::now();
    ada.vanish();
    assert_eq!(bea.expect_place().position, 1);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(end(&server, &ada.call().to_hex()), ("server".into(), "timed_out".into()));
    is_forgotten(&mut ada);
    let mut operator = Peer::operator(server.address(), "Wei");
    assert_eq!(operator.expect_connected().peer.as_str(), "Bea", "nobody else is shown");
    // The ticket opens nothing any more, in case a `Join` with it comes late; a new one does.
    let mut late = Peer::connect(server.address());
    late.send_all([Peer::hello(), Peer::join_with("Ada", ada.ticket())]);
    assert_eq!(late.expect_goodbye().code, Code::NO_SUCH_TICKET);
    let mut anew = Peer::caller(server.address(), "Ada");
    assert_ne!(anew.expect_place().call, ada.call());
}

#[test]
fn a_call_whose_caller_stays_away_is_over_and_the_operator_goes_on() {
    let server = Server::with().graces(LONG, 1, LONG).start();
    let (mut ada, mut operator) = Peer::pair(server.address());
    let mut bea = Peer::caller(server.address(), "Bea");
    bea.expect_place();
    Peer::chat(&mut ada, &mut operator, "hello");
    ada.vanish();
    operator.expect_away();
    let begun = Instant::now();
    let ended = operator.expect_ended();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!((ended.by, ended.why), (By::Server, Why::TIMED_OUT));
    operator.end_seen();
    assert_eq!(operator.expect_connected().peer.as_str(), "Bea");
    Peer::chat(&mut bea, &mut operator, "served");
    is_forgotten(&mut ada);
}

#[test]
fn a_call_whose_operator_stays_away_waits_again_under_its_first_number() {
    let server = Server::with().graces(LONG, LONG, 1).start();
    let (mut ada, mut wei) = Peer::pair(server.address());
    let call = ada.call();
    let mut bea = Peer::caller(server.address(), "Bea");
    assert_eq!(bea.expect_place().position, 1);
    ada.say("my story so far");
    wei.expect_text("my story so far");
    wei.vanish();
    ada.expect_away();
    assert_eq!(ada.expect_left().name.as_str(), "Wei");
    let place = ada.expect_place();
    assert_eq!((place.call, place.position, place.waiting), (call, 1, 2));
    assert_eq!(bea.expect_place().position, 2, "who came later waits behind");
    let mut cleo = Peer::caller(server.address(), "Cleo");
    assert_eq!(cleo.expect_place().position, 3);
    ada.say("is anybody there?");
    ada.expect_text("is anybody there?");

    let mut li = Peer::operator(server.address(), "Li");
    assert_eq!(li.expect_connected().peer.as_str(), "Ada");
    ada.expect_connected();
    Peer::chat(&mut ada, &mut li, "now");
    assert_eq!(ada.entries(), li.entries(), "with all that was said before");
    assert_eq!(li.heard()[..2], ["my story so far", "is anybody there?"]);
    is_forgotten(&mut wei);
}

#[test]
fn who_comes_back_in_time_has_the_whole_grace_again() {
    let server = Server::with().graces(10, 10, 10).start();
    let mut ada = Peer::caller(server.address(), "Ada");
    ada.expect_place();
    for _ in 0..2 {
        ada.vanish();
        // The time away is what the story is about: together it is more than the grace.
        thread::sleep(Duration::from_secs(6));
        ada.come_back();
        assert_eq!(ada.expect_place().position, 1);
    }
    // And whoever is there is there, for however long.
    thread::sleep(Duration::from_secs(6));
    ada.say("still here");
    ada.expect_text("still here");
}

#[test]
fn the_time_before_the_first_answer_is_another_than_behind_it() {
    let server = Server::with().graces(1, LONG, LONG).start();
    let (mut ada, mut wei) = Peer::pair(server.address());
    wei.send(SignOff {});
    ada.expect_left();
    assert_eq!(ada.expect_place().position, 1);
    // She waits, but has been answered once: there is something to come back to.
    ada.vanish();
    let mut bea = Peer::caller(server.address(), "Bea");
    bea.expect_place();
    bea.vanish();
    assert_eq!(end(&server, &bea.call().to_hex()).1, "timed_out", "longer than the first grace");
    ada.come_back();
    assert_eq!(ada.expect_place().position, 1);
}

#[test]
fn an_end_that_nobody_comes_back_to_see_keeps_nobody() {
    let server = Server::with().graces(LONG, 1, LONG).start();
    let (mut ada, mut wei) = Peer::pair(server.address());
    let mut bea = Peer::caller(server.address(), "Bea");
    bea.expect_place();
    ada.vanish();
    wei.expect_away();
    wei.hang_up();
    let ended = wei.expect_ended();
    assert_eq!((ended.by, ended.why), (By::Operator, Why::BYE));
    wei.end_seen();
    wei.expect_connected();
    wait_until("her ticket is forgotten", || {
        let mut again = ada.again(0);
        let last = again.expect("Resumed or Goodbye", |message| match message {
            Message::Resumed(_) => Some(None),
            Message::Goodbye(goodbye) => Some(Some(goodbye.code)),
            _ => None,
        });
        // Each time she does come back, the grace begins anew: not too often.
        if last.is_none() {
            again.vanish();
            thread::sleep(Duration::from_millis(1500));
        }
        (last == Some(Code::NO_SUCH_TICKET)).then_some(())
    });
    assert_eq!(end(&server, &ada.call().to_hex()), ("operator".into(), "bye".into()));
}

#[test]
fn an_operator_who_stays_away_without_a_call_is_signed_off() {
    let server = Server::with().graces(LONG, LONG, 1).start();
    let mut wei = Peer::operator(server.address(), "Wei");
    wei.vanish();
    let mut ada = Peer::caller(server.address(), "Ada");
    ada.expect_place();
    wait_until("he is signed off", || {
        let mut again = wei.again(0);
        let known = again.expect("Resumed or Goodbye", |message| match message {
            Message::Resumed(_) => Some(true),
            Message::Goodbye(goodbye) => {
                assert_eq!(goodbye.code, Code::NO_SUCH_TICKET);
                Some(false)
            }
            _ => None,
        });
        again.vanish();
        if known {
            thread::sleep(Duration::from_millis(1500));
        }
        (!known).then_some(())
    });
    drop(ada);
}
