//! The queue: places, positions, busy.

use std::time::{Duration, Instant};

use helpline_proto::{code::Why, message::Message};
use helpline_tests::{Client, Got, Peer, Server};

/// A server on which one caller talks and five wait.
fn five_places_taken() -> (Server, (Peer, Peer), Vec<Peer>) {
    let server = Server::with().places(5).start();
    let pair = Peer::pair(server.address());
    let waiting = (1..=5)
        .map(|position| {
            let mut caller = Peer::caller(server.address(), &format!("caller {position}"));
            let place = caller.expect_place();
            assert_eq!((place.position, place.waiting), (position, position));
            caller
        })
        .collect();
    (server, pair, waiting)
}

#[test]
fn n18_five_wait_and_the_sixth_hears_busy() {
    let (server, (mut caller, mut operator), mut waiting) = five_places_taken();
    let begun = Instant::now();
    let mut sixth = Peer::joining(server.address(), "Zoe");
    let busy = sixth.expect_busy();
    let took = begun.elapsed();
    println!("busy after {took:?}");
    assert!(took < Duration::from_millis(2500), "{took:?}");
    assert_eq!(busy.why, Why::FULL);
    assert!(busy.retry_after_s > 0, "{busy:?}");
    assert_eq!(sixth.expect_over(), Got::End);
    assert_eq!(server.calls().len(), 6, "nothing is kept of who was refused");

    // A place that is given up is there for the next.
    let mut first = waiting.remove(0);
    first.hang_up();
    first.expect_ended();
    let mut seventh = Peer::caller(server.address(), "Yan");
    assert_eq!(seventh.expect_place().position, 5);
    Peer::chat(&mut caller, &mut operator, "undisturbed");
}

#[test]
fn n19_who_hears_busy_is_told_when_to_try_again() {
    let (server, _pair, _waiting) = five_places_taken();
    let begun = Instant::now();
    let refused = Client::call(server.address()).name("Zoe").run();
    println!("busy, the whole program: {:?}", begun.elapsed());
    assert_eq!(refused.code, 75, "{refused:?}");
    assert!(refused.stderr.contains("busy"), "{refused:?}");
    assert!(refused.stderr.contains("try again"), "{refused:?}");
    assert_eq!(refused.stdout, "");

    let refused = Client::call(server.address()).json().run();
    assert_eq!(refused.code, 75, "{refused:?}");
    let event = refused.stdout.lines().find(|line| line.contains(r#""kind":"busy""#));
    let event: serde_json::Value =
        serde_json::from_str(event.unwrap_or_else(|| panic!("{refused:?}"))).unwrap();
    assert!(event["body"]["retry_after_s"].as_u64().unwrap() > 0, "{event}");
}

#[test]
fn n21_who_waits_knows_it_and_hears_when_the_place_changes() {
    let server = Server::with().places(20).start();
    let mut callers: Vec<Peer> = (1..=12)
        .map(|position| {
            let mut caller = Peer::caller(server.address(), &format!("caller {position}"));
            let place = caller.expect_place();
            assert_eq!((place.position, place.waiting), (position, position));
            caller
        })
        .collect();
    // One in the middle leaves: those behind move up, those before hear nothing.
    let mut fourth = callers.remove(3);
    fourth.hang_up();
    fourth.expect_ended();
    let mut places = Vec::new();
    for caller in &mut callers[3..10] {
        places.push(caller.expect_place().position);
    }
    assert_eq!(places, [4, 5, 6, 7, 8, 9, 10]);
    // From 12th to 11th is no news: behind the tenth only some places are told. An answer to a question
    // comes behind everything told before.
    for at in [0, 1, 2, 10] {
        let caller = &mut callers[at];
        caller.settle();
        let places =
            caller.pending().filter(|message| matches!(message, Message::Place(_))).count();
        assert_eq!(places, 0, "{}", caller.seen());
    }

    let mut operator = Peer::operator(server.address(), "Wei");
    for at in 0..3 {
        let call = operator.expect_connected();
        assert_eq!(call.peer.as_str(), format!("caller {}", at + 1), "first come, first served");
        callers[at].expect_connected();
        while callers[at + 1].expect_place().position != 1 {}
        operator.hang_up();
        operator.expect_ended();
        operator.end_seen();
    }
}

#[test]
fn n22_a_caller_who_left_the_queue_is_never_given_to_an_operator() {
    let server = Server::start();
    let mut operator = Peer::operator_by_hand(server.address(), "Wei");
    let (mut busy_caller, mut busy) = {
        let mut caller = Peer::caller(server.address(), "Ada");
        let place = caller.expect_place();
        operator.send(helpline_proto::message::Answer { call: place.call });
        operator.expect_connected();
        (caller, Peer::operator_by_hand(server.address(), "Bo"))
    };
    busy_caller.expect_connected();
    // B, C and D wait; B hangs up, C does and is gone at once.
    let [mut b, mut c, mut d] = ["B", "C", "D"].map(|name| Peer::caller(server.address(), name));
    for (caller, position) in [(&mut b, 1), (&mut c, 2), (&mut d, 3)] {
        assert_eq!(caller.expect_place().position, position);
    }
    b.say("urgent");
    b.expect_text("urgent");
    b.hang_up();
    b.expect_ended();
    drop(b);
    c.hang_up();
    drop(c);
    while d.expect_place().position != 1 {}
    busy.next();
    assert_eq!(busy.expect_connected().peer.as_str(), "D", "the next live one is served");
    d.expect_connected();
    Peer::chat(&mut d, &mut busy, "hello");
    busy.ask(3, helpline_proto::message::Next {});
    assert!(matches!(busy.expect_answer(3), Message::Error(_)));
    Peer::chat(&mut busy_caller, &mut operator, "still here");
    for peer in [&busy, &operator] {
        let ghosts =
            peer.pending().filter(|message| matches!(message, Message::Connected(_))).count();
        assert_eq!(ghosts, 0, "{}", peer.seen());
    }
}

#[test]
fn an_offer_is_withdrawn_when_the_caller_leaves_or_another_answers() {
    let server = Server::start();
    let mut wei = Peer::operator_by_hand(server.address(), "Wei");
    let mut bo = Peer::operator_by_hand(server.address(), "Bo");
    let mut ada = Peer::caller(server.address(), "Ada");
    let call = ada.expect_place().call;
    for operator in [&mut wei, &mut bo] {
        let offered = operator.expect("Offer", |message| match message {
            Message::Offer(offer) => Some(offer.call),
            _ => None,
        });
        assert_eq!(offered, call);
    }
    ada.hang_up();
    for operator in [&mut wei, &mut bo] {
        operator.expect("Withdrawn", |message| match message {
            Message::Withdrawn(withdrawn) if withdrawn.call == call => Some(()),
            _ => None,
        });
        operator.ask(1, helpline_proto::message::Answer { call });
        assert!(matches!(operator.expect_answer(1), Message::Error(_)));
    }
    let mut bea = Peer::caller(server.address(), "Bea");
    let call = bea.expect_place().call;
    wei.expect("Offer", |message| {
        matches!(message, Message::Offer(offer) if offer.call == call).then_some(())
    });
    bo.expect("Offer", |message| {
        matches!(message, Message::Offer(offer) if offer.call == call).then_some(())
    });
    wei.send(helpline_proto::message::Answer { call });
    wei.expect_connected();
    bo.expect("Withdrawn", |message| {
        matches!(message, Message::Withdrawn(gone) if gone.call == call).then_some(())
    });
    bo.ask(2, helpline_proto::message::Answer { call });
    assert!(matches!(bo.expect_answer(2), Message::Error(_)));
    Peer::chat(&mut bea, &mut wei, "one operator");
}

#[test]
fn a_call_whose_operator_signs_off_goes_back_to_its_place() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    Peer::chat(&mut caller, &mut operator, "first");
    let mut second = Peer::caller(server.address(), "Bea");
    second.expect_place();
    operator.send(helpline_proto::message::SignOff {});
    assert_eq!(caller.expect_place().position, 1, "before who came later");
    assert_eq!(operator.expect_over(), Got::End);
    let mut next = Peer::operator(server.address(), "Bo");
    assert_eq!(next.expect_connected().peer.as_str(), "Ada");
    next.expect_text("first!");
    caller.expect_connected();
    Peer::chat(&mut caller, &mut next, "then");
}
