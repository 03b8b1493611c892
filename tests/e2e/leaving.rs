//! Who leaves, and how the others learn of it.

use std::{
    thread,
    time::{Duration, Instant},
};

use helpline_proto::{
    code::{Code, Why},
    ids::{By, Resumable, Side},
    message::{HangUp, Message},
};
use helpline_tests::{Got, Peer, Server, have, linux};

#[test]
fn n09_the_operator_sees_the_caller_leave_and_the_next_is_connected() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let mut next = Peer::caller(server.address(), "Bea");
    next.expect_place();
    let begun = Instant::now();
    caller.hang_up();
    drop(caller);
    let ended = operator.expect_ended();
    let took = begun.elapsed();
    println!("the caller's leaving is seen after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!((ended.by, ended.why), (By::Caller, Why::BYE));
    // Two replies that crossed the caller's leaving.
    for reference in [1, 2] {
        let reply = operator.next_say("are you there?");
        operator.ask(reference, reply);
        assert!(
            matches!(operator.expect_answer(reference), Message::Error(error) if error.code == Code::CALL_ENDED)
        );
    }
    operator.end_seen();
    assert_eq!(operator.expect_connected().peer.as_str(), "Bea");
    next.expect_connected();
    Peer::chat(&mut next, &mut operator, "hello");
}

#[test]
fn n10_who_connects_and_hangs_up_silently_is_never_shown() {
    let server = Server::start();
    let mut operator = Peer::operator_by_hand(server.address(), "Wei");
    let hello = Peer::frame(&Peer::hello());
    let join = Peer::frame(&Peer::join("ghost"));
    for _ in 0..20 {
        drop(Peer::connect(server.address()));
        Peer::connect(server.address()).reset();
        let mut begun = Peer::connect(server.address());
        begun.send_raw(&hello[..7]);
        drop(begun);
        let mut greeted = Peer::welcomed(server.address());
        greeted.send_raw(&join[..join.len() - 1]);
        drop(greeted);
        Peer::welcomed(server.address()).reset();
    }
    // Whoever comes after them is the first that is seen.
    let mut caller = Peer::caller(server.address(), "Ada");
    let place = caller.expect_place();
    assert_eq!((place.position, place.waiting), (1, 1));
    let offered = operator.expect("Offer", |message| match message {
        Message::Offer(offer) => Some((offer.name.clone(), offer.waiting)),
        _ => None,
    });
    assert_eq!((offered.0.as_str(), offered.1), ("Ada", 1));
    assert_eq!(server.calls().len(), 1);
}

#[test]
fn n11_the_end_of_input_costs_no_processor_time() {
    if !have(linux("/proc")) {
        return;
    }
    let server = Server::with().places(100).start();
    let mut operator = Peer::operator(server.address(), "Wei");
    let mut half_closed = Vec::new();
    for n in 0..100 {
        drop(Peer::connect(server.address()));
        drop(Peer::welcomed(server.address()));
        let peer = match n % 3 {
            0 => Peer::connect(server.address()),
            1 => Peer::welcomed(server.address()),
            _ => {
                let mut peer = Peer::joining(server.address(), "Ada");
                peer.expect_admitted();
                peer
            }
        };
        peer.half_close();
        half_closed.push(peer);
    }
    operator.expect_connected();
    // The window is the measurement, not a wait for something to become true.
    let window = Duration::from_secs(4);
    let (before, begun) = (server.cpu(), Instant::now());
    thread::sleep(window);
    let share = (server.cpu() - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    println!("processor time after 300 ends of input: {:.2} %", share * 100.0);
    assert!(share < 0.1, "{share}");
}

#[test]
fn n15_after_a_half_close_what_was_said_is_delivered_then_the_caller_is_away() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let says = ["one", "two", "three"].map(|text| caller.next_say(text));
    caller.send_all(says);
    caller.half_close();
    for text in ["one", "two", "three"] {
        assert_eq!(operator.expect_said().text.as_str(), text);
    }
    assert_eq!(operator.expect_away().from, Side::Caller);
    // The other half still carries everything there is to hear, and a goodbye that says what follows.
    let goodbye = caller.expect_goodbye();
    assert_eq!((goodbye.code, goodbye.resumable), (Code::DONE, Resumable::Yes));
    assert_eq!(caller.expect_over(), Got::End);
    assert_eq!(caller.heard(), ["one", "two", "three"]);
    operator.say("four");
    caller.come_back();
    caller.expect_text("four");
    operator.expect_back();
    Peer::chat(&mut caller, &mut operator, "both ways");
}

#[test]
fn n15_a_half_close_behind_a_hang_up_is_an_end_like_any_other() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let last = caller.next_say("that is all");
    caller.send_all([last, HangUp { call: caller.call() }.into()]);
    caller.half_close();
    operator.expect_text("that is all");
    assert_eq!(operator.expect_ended().by, By::Caller);
    operator.end_seen();
    // She can no longer say that she has seen it; who comes back for it has it again.
    assert_eq!(caller.expect_ended().by, By::Caller);
    assert_eq!(caller.expect_goodbye().resumable, Resumable::Yes);
    assert_eq!(caller.expect_over(), Got::End);
    let mut again = caller.again(1);
    again.expect_text("that is all");
    again.expect_ended();
    again.end_seen();
    assert_eq!(again.expect_goodbye().resumable, Resumable::No);
}

#[test]
fn a_caller_with_many_lines_under_way_may_half_close_too() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    // More than may come at once: the server has stopped reading when the end comes.
    let texts: Vec<String> = (0..120).map(|n| format!("line {n}")).collect();
    let says: Vec<Message> = texts.iter().map(|text| caller.next_say(text)).collect();
    caller.send_all(says);
    caller.half_close();
    operator.expect_away();
    assert_eq!(operator.heard(), texts);
    assert_eq!(caller.expect_over(), Got::End);
    assert_eq!(caller.heard(), texts);
}

#[test]
fn n35_last_words_arrive_in_a_thousand_races_with_typing() {
    const RACES: usize = 1000;
    const SIDE_BY_SIDE: usize = 4;
    let server = Server::with().says(0).places(50).start();
    let address = server.address();
    thread::scope(|scope| {
        for side in 0..SIDE_BY_SIDE {
            scope.spawn(move || {
                for race in 0..RACES / SIDE_BY_SIDE {
                    let mut operator = Peer::operator_by_hand(address, &format!("Wei {side}"));
                    let mut caller = Peer::caller(address, &format!("Ada {side}"));
                    let call = caller.expect_place().call;
                    operator.expect("Offer or Withdrawn", |message| match message {
                        Message::Offer(offer) if offer.call == call => Some(()),
                        _ => None,
                    });
                    operator.send(helpline_proto::message::Answer { call });
                    operator.expect_connected();
                    goodbye_while_typing(&mut caller, &mut operator, race);
                }
            });
        }
    });
}

fn goodbye_while_typing(caller: &mut Peer, operator: &mut Peer, race: usize) {
    // The caller has heard nothing yet and types on while the operator says goodbye; some of it
    // comes after the end, some after the connection has been closed.
    let says: Vec<_> =
        (0..20).map(|n| Peer::frame(&caller.next_say(&format!("typing {n}")))).collect();
    let begin = race % says.len();
    caller.send_raw(&says[..begin].concat());
    operator.say("last words");
    operator.hang_up();
    caller.send_raw(&says[begin..].concat());
    let ended = caller.expect_ended();
    assert_eq!((ended.by, ended.why), (By::Operator, Why::BYE));
    assert_eq!(
        caller.heard().iter().filter(|text| **text == "last words").count(),
        1,
        "{}",
        caller.seen()
    );
    caller.end_seen();
    for _ in 0..5 {
        // By now nobody listens: this may fail, but must not cost what was sent before.
        let _ = caller.try_send_raw(&says[0]);
    }
    assert_eq!(caller.expect_goodbye().code, Code::DONE);
    assert_eq!(caller.expect_over(), Got::End, "race {race}: {}", caller.seen());
    operator.expect_ended();
    operator.end_seen();
    operator.send(helpline_proto::message::SignOff {});
    assert_eq!(operator.expect_over(), Got::End);
}

#[test]
fn an_operator_who_is_gone_does_not_take_the_server_along() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    operator.reset();
    assert_eq!(caller.expect_away().from, Side::Operator);
    let (mut caller, mut operator) = Peer::pair(server.address());
    Peer::chat(&mut caller, &mut operator, "hello");
}
