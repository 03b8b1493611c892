//! Coming back on another connection: what is told again, what is not, and who is heard.

use std::time::{Duration, Instant};

use helpline_proto::{
    code::Code,
    ids::{Answering, CallId, Nonce, Resumable, Seq, Side, Ticket},
    limits,
    message::{Message, Next, Resume, Shown},
};
use helpline_tests::{Got, Peer, Server};

fn numbers(peer: &Peer) -> Vec<u32> {
    let seq = |entry: &Message| match entry {
        Message::Said(said) => said.seq.0,
        Message::Joined(joined) => joined.seq.0,
        Message::Left(left) => left.seq.0,
        Message::Ended(ended) => ended.seq.0,
        other => panic!("{other:?}"),
    };
    peer.entries().iter().map(seq).collect()
}

fn goodbye_is(peer: &mut Peer, code: Code, resumable: Resumable) {
    let goodbye = peer.expect_goodbye();
    assert_eq!((goodbye.code, goodbye.resumable), (code, resumable), "{goodbye:?}");
    assert_eq!(peer.expect_over(), Got::End);
}

#[test]
fn what_was_shown_is_not_told_again_and_what_was_not_is() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    for text in ["one", "two", "three", "four"] {
        caller.say(text);
        operator.expect_text(text);
        caller.expect_text(text);
    }
    // Entries 1 and 2 say who joined.
    for shown in 0..=6 {
        let mut again = caller.again(shown);
        again.expect_admitted();
        let resumed = again.expect_resumed();
        let [listed] = &resumed.calls[..] else { panic!("{resumed:?}") };
        assert_eq!(
            (listed.call, listed.next_nonce, listed.last),
            (caller.call(), Nonce(5), Seq(6 + shown))
        );
        again.expect_connected();
        operator.say(&format!("{shown} were shown"));
        again.expect_text(&format!("{shown} were shown"));
        assert_eq!(numbers(&again), (shown + 1..=7 + shown).collect::<Vec<_>>());
        caller = again;
        assert_eq!(operator.expect_text(&format!("{shown} were shown")).seq, Seq(7 + shown));
    }
    // What is said to have been shown can't be more than there is.
    let mut boastful = Peer::connect(server.address());
    let shown = vec![Shown { call: caller.call(), seq: Seq(u32::MAX) }];
    let resume = Resume { ticket: caller.ticket(), side: Side::Caller, shown };
    boastful.send_all([Peer::hello(), resume.into()]);
    boastful.expect_connected();
    boastful.settle();
    assert_eq!(boastful.heard(), [""; 0]);
}

#[test]
fn an_older_connection_can_neither_speak_nor_hear() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    Peer::chat(&mut caller, &mut operator, "before");
    let mut newer = caller.again(4);
    newer.expect_resumed();
    // Whether it has noticed yet or not, nothing it asks for is heard.
    let late = Peer::frame(&caller.next_say("from the older one"));
    let _ = caller.try_send_raw(&late);
    operator.say("whom do I reach?");
    newer.expect_text("whom do I reach?");
    goodbye_is(&mut caller, Code::SUPERSEDED, Resumable::No);
    assert_eq!(caller.heard(), ["before?", "before!"]);
    newer.say("me");
    operator.expect_text("me");
    assert_eq!(operator.heard(), ["before?", "before!", "whom do I reach?", "me"]);
    // Nobody was away, and the older one's end is nobody's.
    drop(caller);
    Peer::chat(&mut newer, &mut operator, "after");
    let absent = |message: &&Message| matches!(message, Message::Away(_) | Message::Back(_));
    assert_eq!(operator.pending().filter(absent).count(), 0, "{}", operator.seen());
}

#[test]
fn an_older_connection_of_an_operator_is_superseded_too() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let mut newer = operator.again(0);
    newer.expect_resumed();
    goodbye_is(&mut operator, Code::SUPERSEDED, Resumable::No);
    newer.expect_connected();
    Peer::chat(&mut caller, &mut newer, "hello");
    assert_eq!(caller.heard(), ["hello?", "hello!"]);
}

#[test]
fn two_who_supersede_each_other_in_turns_lose_nothing() {
    let server = Server::with().says(0).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let mut texts = Vec::new();
    for round in 0..50 {
        let text = format!("round {round}");
        caller.say(&text);
        caller.expect_text(&text);
        texts.push(text);
        // Not one in turn: the next comes while this one is still there.
        let shown = u32::try_from(caller.entries().len()).unwrap();
        let mut newer = caller.again(0);
        newer.expect_resumed();
        newer.expect_text(texts.last().unwrap());
        assert_eq!(u32::try_from(newer.entries().len()).unwrap(), shown);
        caller = newer;
    }
    operator.expect_text(texts.last().unwrap());
    assert_eq!(operator.heard(), texts);
}

#[test]
fn joining_with_a_known_ticket_is_coming_back() {
    let server = Server::start();
    let mut ada = Peer::caller(server.address(), "Ada");
    let call = ada.expect_place().call;
    ada.say("hello?");
    ada.expect_text("hello?");
    let mut bea = Peer::caller(server.address(), "Bea");
    bea.expect_place();
    // As when the answer to the first Join was lost: there is no second place, and no ghost.
    let mut again = Peer::connect(server.address());
    again.send_all([Peer::hello(), Peer::join_with("Somebody", ada.ticket())]);
    assert_eq!(again.expect_admitted().name.as_str(), "Ada", "the name is the first one");
    assert_eq!(again.expect_resumed().calls[0].next_nonce, Nonce(2));
    let place = again.expect_place();
    assert_eq!((place.call, place.position, place.waiting), (call, 1, 2));
    again.expect_text("hello?");
    assert_eq!(numbers(&again), [1, 2]);
    goodbye_is(&mut ada, Code::SUPERSEDED, Resumable::No);
    assert_eq!(server.calls().len(), 2);
}

#[test]
fn signing_on_with_a_known_ticket_is_coming_back() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    Peer::chat(&mut caller, &mut operator, "before");
    let mut again = Peer::connect(server.address());
    let ticket = operator.ticket();
    again.send_all([Peer::hello(), Peer::sign_on_with("Somebody", Answering::ByHand, ticket)]);
    assert_eq!(again.expect_admitted().name.as_str(), "Wei");
    assert_eq!(again.expect_resumed().calls[0].call, caller.call());
    again.expect_connected();
    Peer::chat(&mut caller, &mut again, "after");
    assert_eq!(caller.entries(), again.entries());
    goodbye_is(&mut operator, Code::SUPERSEDED, Resumable::No);
    // There is one operator, who still answers by itself.
    caller.hang_up();
    again.expect_ended();
    again.end_seen();
    let mut next = Peer::caller(server.address(), "Bea");
    next.expect_connected();
    again.expect_connected();
    let mut third = Peer::caller(server.address(), "Cleo");
    assert_eq!(third.expect_place().position, 1, "nobody else is free");
}

#[test]
fn a_ticket_is_good_for_what_it_stands_for_and_nothing_else() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let resume = |ticket, side| Message::from(Resume { ticket, side, shown: Vec::new() });
    let unknown = Ticket([7; 32]);
    for (asks, code) in [
        (resume(unknown.clone(), Side::Caller), Code::NO_SUCH_TICKET),
        (resume(unknown, Side::Operator), Code::NO_SUCH_TICKET),
        (resume(caller.ticket(), Side::Operator), Code::TICKET_IN_USE),
        (resume(operator.ticket(), Side::Caller), Code::TICKET_IN_USE),
        (Peer::join_with("Eve", operator.ticket()), Code::TICKET_IN_USE),
        (Peer::sign_on_with("Eve", Answering::ByItself, caller.ticket()), Code::TICKET_IN_USE),
    ] {
        let mut peer = Peer::connect(server.address());
        peer.send_all([Peer::hello(), asks]);
        goodbye_is(&mut peer, code, Resumable::No);
    }
    Peer::chat(&mut caller, &mut operator, "undisturbed");
    // It dies with the call, once its end is seen.
    caller.hang_up();
    caller.expect_ended();
    caller.end_seen();
    goodbye_is(&mut caller, Code::DONE, Resumable::No);
    caller.ask_to_come_back();
    goodbye_is(&mut caller, Code::NO_SUCH_TICKET, Resumable::No);
    operator.expect_ended();
    operator.end_seen();
    operator.send(helpline_proto::message::SignOff {});
    operator.expect_over();
    operator.ask_to_come_back();
    goodbye_is(&mut operator, Code::NO_SUCH_TICKET, Resumable::No);
}

#[test]
fn at_most_so_many_calls_can_be_resumed_at_once() {
    let server = Server::start();
    let mut caller = Peer::caller(server.address(), "Ada");
    caller.expect_place();
    let many = u8::try_from(limits::RESUMED_CALLS).unwrap();
    let shown = |count| (0..count).map(|n| Shown { call: CallId([n; 16]), seq: Seq(9) }).collect();
    let resume =
        |count| Resume { ticket: caller.ticket(), side: Side::Caller, shown: shown(count) };
    let mut greedy = Peer::connect(server.address());
    greedy.send_all([Peer::hello(), resume(many + 1).into()]);
    goodbye_is(&mut greedy, Code::BAD_BODY, Resumable::No);
    // What it says of calls that aren't its own means nothing.
    let mut again = Peer::connect(server.address());
    again.send_all([Peer::hello(), resume(many).into()]);
    assert_eq!(again.expect_resumed().calls.len(), 1);
    assert_eq!(again.expect_place().position, 1);
    again.expect("Joined", |message| matches!(message, Message::Joined(_)).then_some(()));
}

#[test]
fn lines_under_way_when_a_connection_breaks_are_recorded_once_each() {
    const LINES: u32 = 10;
    let server = Server::with().says(0).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let mut wanted = Vec::new();
    for round in 0..40_usize {
        let base = caller.next_nonce().0;
        let texts: Vec<String> = (0..LINES).map(|n| format!("{round}: line {n}")).collect();
        let says: Vec<Message> = texts.iter().map(|text| caller.next_say(text)).collect();
        // The connection breaks at any byte of what was to be said.
        let bytes = says.iter().map(Peer::frame).collect::<Vec<_>>().concat();
        let cut = bytes.len() * round / 40;
        caller.send_raw(&bytes[..cut]);
        if round % 2 == 0 {
            caller.reset()
        } else {
            caller.vanish()
        };
        // What is below the next nonce is recorded, the rest is said again.
        let next = caller.come_back().calls[0].next_nonce.0;
        let recorded = usize::try_from(next - base).unwrap();
        let whole = says.iter().scan(0, |at, say| {
            *at += Peer::frame(say).len();
            Some(*at)
        });
        assert!(recorded <= whole.filter(|end| *end <= cut).count(), "more than was sent");
        if recorded > 0 {
            caller.ask(9, says[recorded - 1].clone());
            let answer = caller.expect_answer(9);
            assert!(
                matches!(&answer, Message::Error(error) if error.code == Code::NONCE),
                "{answer:?}"
            );
        }
        caller.say_again(&says);
        caller.expect_text(texts.last().unwrap());
        wanted.extend(texts);
    }
    operator.expect_text(wanted.last().unwrap());
    assert_eq!(operator.heard(), wanted);
    assert_eq!(caller.heard(), wanted);
}

#[test]
fn an_end_that_is_not_answered_cuts_the_connection_and_is_told_again() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let mut next = Peer::caller(server.address(), "Bea");
    next.expect_place();
    let begun = Instant::now();
    caller.hang_up();
    let ended = caller.expect_ended();
    assert_eq!(operator.expect_ended(), ended);
    for peer in [&mut caller, &mut operator] {
        let goodbye = peer.expect_goodbye();
        assert_eq!((goodbye.code, goodbye.resumable), (Code::END_NOT_SEEN, Resumable::Yes));
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(9) && took < Duration::from_secs(100), "{took:?}");
        assert_eq!(peer.expect_over(), Got::End);
    }
    // As if it had not come: it is there again for who hasn't shown it, and then it counts.
    let shown = ended.seq.0 - 1;
    let mut caller = caller.again(shown);
    assert_eq!(caller.expect_resumed().calls[0].last, ended.seq);
    assert_eq!(caller.expect_ended(), ended);
    caller.say("too late");
    assert_eq!(caller.expect_error().code, Code::CALL_ENDED);
    caller.end_seen();
    goodbye_is(&mut caller, Code::DONE, Resumable::No);
    let mut operator = operator.again(shown);
    assert_eq!(operator.expect_ended(), ended);
    operator.ask(5, Next {});
    let answer = operator.expect_answer(5);
    assert!(matches!(&answer, Message::Error(error) if error.code == Code::OCCUPIED), "{answer:?}");
    operator.end_seen();
    assert_eq!(operator.expect_connected().peer.as_str(), "Bea");
}

#[test]
fn an_end_that_came_while_away_is_told_to_who_comes_back() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let mut next = Peer::caller(server.address(), "Bea");
    next.expect_place();
    operator.vanish();
    caller.expect_away();
    caller.say("never mind");
    caller.hang_up();
    let ended = caller.expect_ended();
    caller.end_seen();
    goodbye_is(&mut caller, Code::DONE, Resumable::No);
    operator.come_back();
    operator.expect_text("never mind");
    assert_eq!(operator.expect_ended(), ended);
    operator.end_seen();
    assert_eq!(operator.expect_connected().peer.as_str(), "Bea");
    next.expect_connected();
}
