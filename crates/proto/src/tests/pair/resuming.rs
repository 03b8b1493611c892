//! Coming back, story by story.

use crate::{
    code::Code,
    error::DecodeError,
    frame::Frame,
    ids::{CallId, Nonce, Resumable, Seq, Side, Ticket},
    limits,
    message::{
        Admitted, Away, Busy, Connected, EndSeen, Ended, Error, Goodbye, HangUp, Join, Listed,
        Message, Next, Ping, PutBack, Ref, Resume, Resumed, Said, Shown, SignOff, Welcome,
        samples::{name, text},
    },
    session::{ClientEvent, ClientSession, Lost, NotOpen, Opening, ServerEvent},
    text::{Agent, Detail},
    time::Moment,
};

use super::{
    stories::{client_in_call, fresh_client, kinds, sent, welcomed},
    world::{World, first, goodbye, parting},
};

const CALL: CallId = CallId([1; 16]);
const TICKET: Ticket = Ticket([1; 32]);

fn events(client: &mut ClientSession) -> Vec<ClientEvent> {
    std::iter::from_fn(|| client.poll_event()).collect()
}

/// Lets a client in again; what is told then is handed out by the caller of this.
fn let_in(client: &mut ClientSession, now: Moment) {
    client.connected(now);
    client.handle_message(Ref::NONE, first("welcome").1, now);
    client.handle_message(Ref::NONE, first("admitted").1, now);
}

fn resumed(calls: &[(CallId, u32, u32)]) -> Message {
    let listed = calls.iter().map(|(call, nonce, last)| Listed {
        call: *call,
        next_nonce: Nonce(*nonce),
        last: Seq(*last),
    });
    Resumed { calls: listed.collect() }.into()
}

/// A caller's line that is recorded.
fn said(seq: u32, nonce: u32, line: &str) -> Message {
    let Message::Said(said) = first("said").1 else { panic!() };
    let (seq, nonce) = (Seq(seq), Nonce(nonce));
    Said { call: CALL, seq, nonce, from: Side::Caller, text: text(line), ..said }.into()
}

fn says(client: &mut ClientSession, now: Moment) -> Vec<(u32, String)> {
    let says = sent(client, now).into_iter().filter_map(|(_, message)| match message {
        Message::Say(say) => Some((say.nonce.0, say.text.to_string())),
        _ => None,
    });
    says.collect()
}

/// A caller in [`CALL`], offline with two lines that were sent and one that wasn't.
fn offline() -> ClientSession {
    let mut client = client_in_call(Nonce(5));
    for (reference, line) in (11..).zip(["five", "six"]) {
        client.say(CALL, text(line), Ref(reference)).unwrap();
    }
    assert_eq!(says(&mut client, Moment(1)), [(5, "five".into()), (6, "six".into())]);
    client.handle_end();
    assert_eq!(events(&mut client), [ClientEvent::Offline(Lost::Broken)]);
    client.say(CALL, text("seven"), Ref(13)).unwrap();
    client
}

fn not_said(line: &str, reference: u32, why: Option<Code>) -> ClientEvent {
    ClientEvent::NotSaid { call: CALL, text: text(line), reference: Ref(reference), why }
}

// ---- breaks that nobody notices ----

#[test]
fn lines_outlive_a_connection() {
    let (mut world, caller, operator) = World::returning();
    world.say(caller, "on its way", 1);
    world.pass_ms(5);
    world.say(caller, "hardly begun", 2);
    world.cut(caller);
    world.pass_ms(1);
    world.say(caller, "while away", 3);
    world.pass(3);
    assert_eq!(world.ends[caller].offline(), [&Lost::Broken]);
    for end in [caller, operator] {
        assert_eq!(world.ends[end].texts(), ["on its way", "hardly begun", "while away"]);
        assert_eq!(world.ends[end].entries(), world.calls[0].transcript);
    }
    assert_eq!(world.ends[caller].said(), [1, 2, 3]);
    let told = kinds(&world, operator);
    assert!(told.ends_with(&["away", "back", "said", "said", "said"]), "{told:?}");
    let again = ["admitted", "resumed", "connected", "said", "said", "said"];
    assert!(kinds(&world, caller).ends_with(&again));
}

#[test]
fn an_answer_that_was_lost_leaves_nothing_said_twice() {
    let (mut world, caller, operator) = World::returning();
    world.say(caller, "heard", 1);
    // It reaches the server, and the server's answer doesn't come.
    world.pass_ms(25);
    world.cut(caller);
    world.pass(3);
    assert_eq!(world.ends[operator].texts(), ["heard"]);
    assert_eq!(world.ends[caller].texts(), ["heard"]);
    assert_eq!(world.ends[caller].said(), [1]);
    assert_eq!(world.ends[caller].client.unsaid_bytes(), 0);
}

#[test]
fn a_lost_answer_to_join_leaves_no_ghost() {
    let mut world = World::new();
    let caller = world.caller();
    world.ends[caller].returns = true;
    // Hello, welcome and join have arrived; admitted is on the way.
    world.pass_ms(65);
    assert_eq!(world.calls.len(), 1);
    world.cut(caller);
    world.pass(3);
    assert_eq!(world.calls.len(), 1, "it is the same call");
    assert_eq!(kinds(&world, caller), ["admitted", "resumed", "place", "joined"]);
    assert_eq!(
        (world.ends[caller].count(Join::NUMBER), world.ends[caller].count(Resume::NUMBER)),
        (2, 0)
    );
    world.say(caller, "here I am", 1);
    world.pass(1);
    assert_eq!(world.ends[caller].said(), [1]);
    world.cut(caller);
    world.pass(3);
    assert_eq!(world.ends[caller].count(Resume::NUMBER), 1, "from now on it resumes");
}

#[test]
fn a_client_that_was_never_heard_doesn_t_come_back() {
    let mut world = World::new();
    let caller = world.caller();
    world.ends[caller].returns = true;
    world.pass_ms(10);
    world.cut(caller);
    world.pass(1);
    assert_eq!(world.ends[caller].lost(), Some(&Lost::Broken));
}

#[test]
fn an_end_whose_answer_was_lost_is_answered_again() {
    let (mut world, caller, operator) = World::returning();
    world.hang_up(operator);
    // The caller has shown the end, and the answer is on the way.
    world.pass_ms(45);
    assert_eq!(world.ends[caller].count(EndSeen::NUMBER), 1);
    world.cut(caller);
    world.pass(3);
    assert_eq!(world.ends[caller].count(EndSeen::NUMBER), 2);
    assert!(
        kinds(&world, caller).ends_with(&["ended", "admitted", "resumed"]),
        "it isn't told again"
    );
    world.cut(caller);
    world.pass(3);
    assert_eq!(world.ends[caller].count(EndSeen::NUMBER), 2, "once it has arrived, that is enough");
}

#[test]
fn an_end_that_came_while_away_is_told() {
    let (mut world, caller, operator) = World::returning();
    world.ends[caller].returns = false;
    world.cut(caller);
    world.pass(1);
    world.say(caller, "too late", 7);
    world.hang_up(operator);
    world.pass(1);
    world.reconnect(caller);
    world.pass(1);
    assert_eq!(world.ends[caller].entries(), world.calls[0].transcript);
    assert_eq!(
        world.ends[caller].not_said(),
        [("too late".into(), Ref(7), Some(Code::CALL_ENDED))]
    );
    assert_eq!(world.ends[caller].count(EndSeen::NUMBER), 1);
}

#[test]
fn a_hang_up_that_was_lost_is_sent_again_behind_what_was_to_be_said() {
    for millis in [5, 25] {
        // Lost on its way to the server, or heard, and the end is lost on the way back.
        let (mut world, caller, operator) = World::returning();
        world.say(caller, "goodbye", 1);
        world.hang_up(caller);
        world.pass_ms(millis);
        world.cut(caller);
        world.pass_ms(1);
        assert!(!world.ends[caller].client.is_idle());
        world.pass(3);
        assert!(world.calls[0].ended && world.ends[caller].client.is_idle());
        for end in [caller, operator] {
            assert_eq!(world.ends[end].entries(), world.calls[0].transcript, "{millis}");
            assert_eq!(world.ends[end].texts(), ["goodbye"]);
        }
        assert_eq!(world.ends[caller].errors(), [], "it has what it wanted");
    }
}

#[test]
fn a_hang_up_that_was_heard_the_first_time_is_no_error_though_the_end_comes_later() {
    let mut client = client_in_call(Nonce(1));
    client.hang_up(CALL, Ref(9)).unwrap();
    client.handle_end();
    let_in(&mut client, Moment(10));
    client.handle_message(Ref::NONE, resumed(&[(CALL, 1, 1)]), Moment(10));
    let asked = sent(&mut client, Moment(10)).pop().unwrap();
    assert_eq!(asked.1, HangUp { call: CALL }.into());
    events(&mut client);
    let error = Error { code: Code::CALL_ENDED, detail: Detail::cut("") };
    client.handle_message(asked.0, error.into(), Moment(11));
    assert_eq!(events(&mut client), []);
    let Message::Ended(ended) = first("ended").1 else { panic!() };
    client.handle_message(Ref::NONE, Ended { call: CALL, seq: Seq(1), ..ended }.into(), Moment(11));
    assert_eq!(events(&mut client).len(), 1);
    assert!(client.is_idle());
}

#[test]
fn a_hang_up_that_is_refused_can_be_tried_again() {
    let mut client = client_in_call(Nonce(1));
    client.hang_up(CALL, Ref(9)).unwrap();
    let (reference, _) = sent(&mut client, Moment(1)).pop().unwrap();
    let error = Error { code: Code::INTERNAL, detail: Detail::cut("") };
    client.handle_message(reference, error.clone().into(), Moment(1));
    assert_eq!(events(&mut client), [ClientEvent::Told(Ref(9), error.into())]);
    assert!(client.is_idle());
    client.say(CALL, text("then not"), Ref(10)).unwrap();
    client.hang_up(CALL, Ref(11)).unwrap();
    assert_eq!(sent(&mut client, Moment(2)).len(), 2);
}

#[test]
fn what_waits_for_an_answer_is_not_asked_twice() {
    let mut world = World::new();
    let operator = world.operator();
    world.pass(1);
    world.ends[operator].client.request(Next {}.into(), Ref(5));
    world.ends[operator].client.request(Next {}.into(), Ref::NONE);
    world.pass_ms(1);
    world.cut(operator);
    world.pass_ms(25);
    assert_eq!(world.ends[operator].errors(), [(Ref(5), Code::UNANSWERED)]);
    world.ends[operator].client.request(SignOff {}.into(), Ref(6));
    world.pass_ms(1);
    assert_eq!(world.ends[operator].errors()[1..], [(Ref(6), Code::OUT_OF_TURN)], "nor kept");
    world.reconnect(operator);
    world.pass(1);
    assert_eq!(world.ends[operator].count(Next::NUMBER), 2);
    assert_eq!(world.ends[operator].count(SignOff::NUMBER), 0);
    world.ends[operator].client.request(Next {}.into(), Ref(7));
    world.pass(1);
    assert_eq!(world.ends[operator].errors()[2..], [(Ref(7), Code::NOBODY_WAITING)]);
}

#[test]
fn a_cut_at_any_byte_is_a_cut() {
    for byte in 0..160 {
        let (mut world, caller, operator) = World::returning();
        world.say(caller, "a line", 1);
        world.say(caller, "another line", 2);
        world.pass_ms(if byte % 2 == 0 { 5 } else { 25 });
        world.cut_behind(caller, byte, byte);
        world.pass(3);
        assert_eq!(world.ends[caller].said(), [1, 2], "{byte}");
        assert_eq!(world.ends[operator].texts(), ["a line", "another line"]);
        assert_eq!(world.ends[caller].entries(), world.calls[0].transcript);
    }
}

#[test]
fn everybody_comes_back_to_a_server_that_starts_again() {
    let (mut world, caller, operator) = World::returning();
    for at in 0..10 {
        world.say(caller, &format!("caller's {at}"), at + 1);
        world.say(operator, &format!("operator's {at}"), at + 1);
    }
    world.pass_ms(21);
    world.restart_server();
    world.pass(4);
    for end in [caller, operator] {
        assert_eq!(world.ends[end].said(), (1..=10).collect::<Vec<_>>());
        assert_eq!(world.ends[end].entries(), world.calls[0].transcript);
    }
}

// ---- which connection counts ----

#[test]
fn who_comes_back_supersedes_the_connection_before() {
    let (mut world, caller, operator) = World::returning();
    world.say(caller, "before", 1);
    world.pass_ms(1);
    world.vanish(caller);
    world.pass(2);
    assert_eq!(world.ends[caller].conns.len(), 2);
    assert_eq!(parting(&mut world.ends[caller].conns[0].server), None, "its goodbye went out");
    assert!(!kinds(&world, operator).contains(&"away"), "nobody was away");
    assert_eq!(world.ends[operator].texts(), ["before"]);
    assert_eq!(world.ends[caller].said(), [1]);
}

#[test]
fn a_superseded_client_is_over() {
    let (mut world, caller, operator) = World::returning();
    world.pass(66);
    let elsewhere = world.open(Opening::Resume(Side::Caller, Ticket([1; 32])), Side::Caller);
    world.pass(1);
    assert!(world.ends[caller].is_over());
    assert_eq!(world.ends[caller].goodbye(), Some(Code::SUPERSEDED));
    assert_eq!(world.ends[elsewhere].entries(), world.calls[0].transcript, "from the start");
    world.say(elsewhere, "from here", 1);
    world.pass(1);
    assert_eq!(world.ends[operator].texts(), ["from here"]);
}

#[test]
fn a_line_whose_number_another_process_took_is_not_said() {
    let mut client = client_in_call(Nonce(1));
    client.say(CALL, text("mine"), Ref(3)).unwrap();
    client.handle_message(Ref::NONE, said(1, 1, "the other's"), Moment(1));
    assert_eq!(
        events(&mut client),
        [
            not_said("mine", 3, Some(Code::NONCE)),
            ClientEvent::Told(Ref::NONE, said(1, 1, "the other's"))
        ]
    );
}

#[test]
fn a_number_is_not_given_to_a_second_line() {
    // The call is put back and given again, and a line sent before that is recorded after it.
    let mut client = client_in_call(Nonce(1));
    client.say(CALL, text("old"), Ref(1)).unwrap();
    sent(&mut client, Moment(1));
    client.handle_message(Ref::NONE, PutBack { call: CALL }.into(), Moment(1));
    assert_eq!(events(&mut client)[0], not_said("old", 1, None));
    let connected = Connected { call: CALL, peer: name("Wei"), next_nonce: Nonce(1) };
    client.handle_message(Ref::NONE, connected.into(), Moment(1));
    client.handle_message(Ref::NONE, said(1, 1, "old"), Moment(1));
    assert_eq!(client.say(CALL, text("new"), Ref(2)), Ok(Nonce(2)));
}

#[test]
fn a_connection_that_was_given_up_supersedes_for_a_moment_only() {
    let (mut world, caller, operator) = World::returning();
    world.cut(caller);
    world.pass_ms(225);
    // The try that follows is heard late: behind the one after it.
    world.pass_ms(30);
    world.stall(caller, 4_000);
    world.say(caller, "still here", 1);
    world.pass(10);
    let lost = world.ends[caller].offline();
    assert!(matches!(lost[..], [Lost::Broken, Lost::NoAnswer, Lost::Goodbye(_)]), "{lost:?}");
    assert_eq!(world.ends[caller].goodbye(), Some(Code::SUPERSEDED));
    assert_eq!(world.ends[operator].texts(), ["still here"]);
    assert_eq!(world.ends[caller].said(), [1]);

    // Where none was given up, it was somebody else.
    let late = Moment(66_000);
    let mut client = client_in_call(Nonce(1));
    client.handle_message(Ref::NONE, goodbye(Code::SUPERSEDED, Resumable::No).into(), late);
    let [ClientEvent::Over(Lost::Goodbye(_))] = events(&mut client)[..] else { panic!() };
    // And so it was long after one was.
    let mut client = client_in_call(Nonce(1));
    client.handle_end();
    client.connected(Moment(1_000));
    client.handle_message(Ref::NONE, first("welcome").1, Moment(0));
    client.handle_end();
    let_in(&mut client, Moment(5_000));
    let late = Moment(67_000);
    client.handle_message(Ref::NONE, goodbye(Code::SUPERSEDED, Resumable::No).into(), late);
    let Some(ClientEvent::Over(Lost::Goodbye(_))) = events(&mut client).pop() else { panic!() };
}

// ---- what is said again ----

#[test]
fn nothing_is_said_until_the_server_tells_what_it_has() {
    let mut client = offline();
    let_in(&mut client, Moment(100));
    let hello_and_resume = sent(&mut client, Moment(100));
    let [_, (_, Message::Resume(resume))] = &hello_and_resume[..] else { panic!() };
    assert_eq!(resume, &Resume { ticket: TICKET, side: Side::Caller, shown: vec![] });
    client.handle_message(Ref::NONE, resumed(&[(CALL, 6, 1)]), Moment(100));
    assert_eq!(says(&mut client, Moment(100)), [(6, "six".into()), (7, "seven".into())]);
    events(&mut client);
    client.handle_message(Ref::NONE, said(1, 5, "five"), Moment(101));
    assert_eq!(events(&mut client), [ClientEvent::Told(Ref(11), said(1, 5, "five"))]);
    assert_eq!(client.unsaid(), 2);
}

#[test]
fn what_was_shown_is_not_told_again() {
    let mut client = client_in_call(Nonce(1));
    client.handle_message(Ref::NONE, said(1, 9, "a"), Moment(1));
    client.handle_message(Ref::NONE, said(2, 10, "b"), Moment(1));
    client.handle_end();
    let_in(&mut client, Moment(2));
    let Some((_, Message::Resume(resume))) = sent(&mut client, Moment(2)).pop() else { panic!() };
    assert_eq!(resume.shown, [Shown { call: CALL, seq: Seq(2) }]);
}

#[test]
fn what_follows_a_refused_line_is_counted_anew() {
    let (mut world, caller, operator) = World::returning();
    world.say(caller, "recorded", 1);
    world.pass(1);
    world.disk_full = true;
    for (reference, line) in (2..).zip(["refused", "next", "last"]) {
        world.say(caller, line, reference);
    }
    world.pass(5);
    assert_eq!(world.ends[caller].not_said(), [("refused".into(), Ref(2), Some(Code::DISK_FULL))]);
    assert_eq!(world.ends[caller].said(), [1, 3, 4]);
    assert_eq!(world.ends[operator].texts(), ["recorded", "next", "last"]);
    for end in [caller, operator] {
        let [Lost::Goodbye(Goodbye { code: Code::DISK_FULL, .. })] = world.ends[end].offline()[..]
        else {
            panic!()
        };
    }
    let nonces: Vec<u32> = world.calls[0]
        .transcript
        .iter()
        .filter_map(|entry| match entry {
            Message::Said(said) => Some(said.nonce.0),
            _ => None,
        })
        .collect();
    assert_eq!(nonces, [1, 2, 3]);
}

#[test]
fn the_window_and_the_order_hold_after_coming_back() {
    let mut client = client_in_call(Nonce(1));
    for at in 0..100 {
        client.say(CALL, text(&format!("{at}")), Ref(at + 1)).unwrap();
    }
    sent(&mut client, Moment(1));
    client.handle_end();
    let bytes = client.unsaid_bytes();
    let_in(&mut client, Moment(2));
    client.handle_message(Ref::NONE, resumed(&[(CALL, 31, 30)]), Moment(2));
    assert_eq!(client.unsaid_bytes(), bytes, "what is held counts until it is told");
    let again: Vec<u32> =
        says(&mut client, Moment(2)).into_iter().map(|(nonce, _)| nonce).collect();
    assert_eq!(again, (31..31 + 64).collect::<Vec<_>>());
    assert_eq!(client.unsaid(), 70);
    let kept: Vec<_> =
        client.unsaid_lines().map(|(_, nonce, text)| (nonce.0, text.to_string())).collect();
    assert_eq!(kept[0], (1, "0".into()), "until its entry comes, it might be another's");
    assert_eq!(kept[99], (100, "99".into()));
}

// ---- calls that are gone ----

#[test]
fn lines_of_a_call_that_is_gone_are_not_said() {
    let mut client = offline();
    client.hang_up(CALL, Ref(20)).unwrap();
    let_in(&mut client, Moment(100));
    events(&mut client);
    client.handle_message(Ref::NONE, resumed(&[]), Moment(100));
    let gone = Error { code: Code::NO_SUCH_CALL, detail: Detail::cut("the call is gone already") };
    assert_eq!(
        events(&mut client),
        [
            not_said("five", 11, None),
            not_said("six", 12, None),
            not_said("seven", 13, Some(Code::NO_SUCH_CALL)),
            ClientEvent::Told(Ref(20), gone.into()),
            ClientEvent::Told(Ref::NONE, resumed(&[])),
        ]
    );
    assert!(client.is_idle());
    assert_eq!((client.unsaid(), client.unsaid_bytes()), (0, 0));
    assert_eq!(client.say(CALL, text("more"), Ref(21)), Err(NotOpen));
}

#[test]
fn what_the_server_did_not_have_and_was_not_sent_again_was_not_said() {
    let mut client = offline();
    let_in(&mut client, Moment(100));
    client.handle_message(Ref::NONE, resumed(&[(CALL, 6, 1)]), Moment(100));
    client.handle_end();
    let_in(&mut client, Moment(200));
    events(&mut client);
    client.handle_message(Ref::NONE, resumed(&[]), Moment(200));
    assert_eq!(
        events(&mut client)[..3],
        [
            // Recorded; but that this was the line can't be told any more.
            not_said("five", 11, None),
            not_said("six", 12, Some(Code::NO_SUCH_CALL)),
            not_said("seven", 13, Some(Code::NO_SUCH_CALL)),
        ]
    );
}

#[test]
fn a_call_that_is_put_back_is_no_longer_the_operator_s() {
    let (mut world, caller, operator) = World::returning();
    world.say(operator, "are you there?", 1);
    world.pass(1);
    world.ends[caller].returns = false;
    world.cut(caller);
    world.pass(1);
    world.say(operator, "I'll go on, then", 2);
    world.pass_ms(1);
    world.conn(operator).up.full = true;
    for at in 0..64 {
        world.say(operator, "and on", 3 + at);
    }
    world.hang_up(operator);
    world.put_back(0);
    world.pass(1);
    let not_said = world.ends[operator].not_said();
    assert_eq!(not_said.len(), 65);
    // It was sent, and may be heard when the call is answered again.
    assert_eq!(not_said[0], ("I'll go on, then".into(), Ref(2), None));
    assert_eq!(not_said[64], ("and on".into(), Ref(66), Some(Code::PUT_BACK)));
    world.conn(operator).up.full = false;
    assert_eq!(world.ends[operator].errors(), [(Ref(901), Code::PUT_BACK)]);
    assert!(world.ends[operator].client.is_idle());
    assert!(kinds(&world, operator).ends_with(&["left", "error", "put_back"]));
    world.reconnect(caller);
    world.pass(1);
    assert!(kinds(&world, caller).ends_with(&["resumed", "place", "left"]));
    // Answered again, it begins again, and the count goes on.
    world.ends[operator].client.request(Next {}.into(), Ref(30));
    world.pass(1);
    world.say(operator, "there you are", 99);
    world.pass(1);
    assert_eq!(world.ends[operator].said(), [1, 99]);
    assert_eq!(world.ends[operator].not_said().len(), 65);
    assert_eq!(world.ends[caller].entries(), world.calls[0].transcript);
}

#[test]
fn an_operator_goes_on_while_the_caller_is_away() {
    let (mut world, caller, operator) = World::returning();
    let next = world.caller();
    world.pass(1);
    world.ends[caller].returns = false;
    world.cut(caller);
    world.pass(1);
    let call = world.calls[0].id;
    let away = Away { call, from: Side::Caller };
    assert_eq!(world.ends[operator].told().last().unwrap().1, &away.into());
    world.ends[operator].client.request(Next {}.into(), Ref(40));
    world.pass(1);
    let told: Vec<&Message> = world.ends[operator].told().map(|(_, told)| told).collect();
    assert!(told.contains(&&PutBack { call }.into()));
    assert_eq!(world.ends[operator].call(), world.ends[next].call());
    let connected = world.ends[operator].told().find(|(reference, _)| *reference == Ref(40));
    assert!(matches!(connected, Some((_, Message::Connected(Connected { .. })))));
}

#[test]
fn a_ticket_that_stands_for_nobody_is_the_end() {
    let (mut world, caller, _) = World::returning();
    world.ends[caller].returns = false;
    world.say(caller, "sent", 1);
    world.pass_ms(1);
    world.cut(caller);
    world.pass(1);
    world.say(caller, "never sent", 2);
    world.forget(caller);
    world.reconnect(caller);
    world.pass(1);
    assert!(world.ends[caller].is_over());
    assert_eq!(world.ends[caller].goodbye(), Some(Code::NO_SUCH_TICKET));
    assert_eq!(
        world.ends[caller].not_said(),
        [("sent".into(), Ref(1), None), ("never sent".into(), Ref(2), Some(Code::NO_SUCH_TICKET))]
    );
    assert_eq!(world.ends[caller].client.unsaid_bytes(), 0);
}

// ---- a new process ----

#[test]
fn a_new_process_goes_on_with_the_lines_of_the_one_before() {
    let (mut world, caller, operator) = World::returning();
    world.say(caller, "recorded", 1);
    world.pass_ms(25);
    world.say(caller, "sent", 2);
    world.pass_ms(1);
    world.say(caller, "not sent", 3);
    world.conn(caller).up.dead = true;
    assert_eq!(world.ends[caller].client.unsaid(), 3);
    world.restart(caller);
    world.pass(2);
    for end in [caller, operator] {
        assert_eq!(world.ends[end].texts(), ["recorded", "sent", "not sent"]);
        assert_eq!(world.ends[end].entries(), world.calls[0].transcript, "all of it, once");
    }
    assert_eq!(world.ends[caller].client.unsaid(), 0);
    assert_eq!(world.ends[caller].not_said(), []);
}

#[test]
fn lines_of_an_earlier_process_are_not_said_when_their_call_is_gone() {
    let agent = Agent::new("pair").unwrap();
    let mut client = ClientSession::new(Opening::Resume(Side::Caller, TICKET), agent, Moment(0));
    client.restore(CALL, Nonce(4), text("kept"));
    client.say(CALL, text("new"), Ref(2)).unwrap();
    assert_eq!(client.unsaid_lines().count(), 2);
    client.handle_message(Ref::NONE, first("welcome").1, Moment(0));
    client.handle_message(Ref::NONE, first("admitted").1, Moment(0));
    events(&mut client);
    client.handle_message(Ref::NONE, resumed(&[(CallId([2; 16]), 1, 0)]), Moment(0));
    assert_eq!(
        events(&mut client)[..2],
        [not_said("kept", 0, None), not_said("new", 2, Some(Code::NO_SUCH_CALL))]
    );
    assert_eq!(says(&mut client, Moment(0)), []);
}

#[test]
fn whoever_stops_keeps_the_lines() {
    let mut client = offline();
    client.stop(Lost::Broken);
    client.stop(Lost::NoAnswer);
    assert_eq!(events(&mut client), [ClientEvent::Over(Lost::Broken)]);
    let kept: Vec<u32> = client.unsaid_lines().map(|(_, nonce, _)| nonce.0).collect();
    assert_eq!(kept, [5, 6, 7]);
    assert_eq!(client.say(CALL, text("more"), Ref(21)), Err(NotOpen));
    assert_eq!(client.hang_up(CALL, Ref(21)), Err(NotOpen));
    client.connected(Moment(5));
    client.typing(CALL);
    client.request(Next {}.into(), Ref(4));
    assert_eq!((client.poll_transmit(Moment(5)), client.poll_event()), (None, None));
    assert_eq!(client.poll_timeout(), None);
}

// ---- which losses are for good ----

#[test]
fn a_goodbye_says_whether_to_come_back() {
    let cases = [
        (Code::STOPPING, Resumable::Yes, true),
        (Code::SILENT, Resumable::Yes, true),
        (Code::DISK_FULL, Resumable::Yes, true),
        (Code::DONE, Resumable::No, false),
        (Code::NO_SUCH_TICKET, Resumable::No, false),
        (Code::SUPERSEDED, Resumable::No, false),
        (Code::SUPERSEDED, Resumable::Yes, false),
        // What this client says is what is wrong.
        (Code::BAD_BODY, Resumable::Yes, false),
        (Code::OUT_OF_TURN, Resumable::Yes, false),
    ];
    for (code, resumable, comes_back) in cases {
        let mut client = client_in_call(Nonce(1));
        client.say(CALL, text("unsent"), Ref(1)).unwrap();
        client.handle_message(Ref::NONE, goodbye(code, resumable).into(), Moment(70_000));
        let learnt = events(&mut client);
        if comes_back {
            assert!(matches!(learnt[..], [ClientEvent::Offline(_)]), "{code}");
        } else {
            assert_eq!(learnt[0], not_said("unsent", 1, Some(code)));
            assert!(matches!(learnt[1..], [ClientEvent::Over(_)]), "{code}");
        }
    }
}

#[test]
fn a_server_does_not_tell_strangers_that_their_ticket_is_bad() {
    for (code, resumable) in
        [(Code::STOPPING, Resumable::Yes), (Code::NO_COMMON_VERSION, Resumable::No)]
    {
        let mut server = welcomed();
        server.close(code, "");
        let bytes = server.poll_transmit().unwrap();
        let frame = crate::frame::split(&bytes, limits::FRAME).unwrap().unwrap();
        let Ok(Message::Goodbye(goodbye)) = Message::decode(frame) else { panic!() };
        assert_eq!(goodbye.resumable, resumable);
    }
}

#[test]
fn whoever_answers_instead_of_the_server_ends_a_stranger_and_not_a_known_one() {
    let wrong: [fn(&mut ClientSession); 4] = [
        |client| client.handle_garbage(crate::frame::split(b"HTTP", limits::FRAME).unwrap_err()),
        |client| client.handle(Frame { kind: 31, reference: Ref::NONE, body: b"?" }, Moment(101)),
        |client| client.handle_message(Ref::NONE, first("board").1, Moment(101)),
        |client| {
            let Message::Welcome(welcome) = first("welcome").1 else { panic!() };
            let version = crate::version::Version(9);
            client.handle_message(Ref::NONE, Welcome { version, ..welcome }.into(), Moment(101));
        },
    ];
    for answer in wrong {
        let mut client = fresh_client();
        answer(&mut client);
        assert!(matches!(events(&mut client)[..], [ClientEvent::Over(Lost::NotHelpline(_))]));

        let mut client = offline();
        client.connected(Moment(100));
        answer(&mut client);
        assert!(matches!(events(&mut client)[..], [ClientEvent::Offline(Lost::NotHelpline(_))]));
        let_in(&mut client, Moment(200));
        client.handle_message(Ref::NONE, resumed(&[(CALL, 5, 0)]), Moment(200));
        assert_eq!(says(&mut client, Moment(200)).len(), 3, "nothing is lost by it");
    }
}

#[test]
fn a_try_to_come_back_takes_three_seconds_at_most() {
    for steps in 0..3 {
        let mut client = offline();
        client.connected(Moment(1_000));
        if steps > 0 {
            client.handle_message(Ref::NONE, first("welcome").1, Moment(3_000));
        }
        if steps > 1 {
            // Let in, and not told what is recorded: that is no use.
            client.handle_message(Ref::NONE, first("admitted").1, Moment(3_000));
        }
        assert_eq!(client.poll_timeout(), Some(Moment(4_000)));
        client.handle_timeout(Moment(3_999));
        events(&mut client);
        client.handle_timeout(Moment(4_000));
        assert_eq!(events(&mut client), [ClientEvent::Offline(Lost::NoAnswer)], "{steps}");
    }
}

#[test]
fn nothing_is_sent_before_the_server_has_answered_hello() {
    let mut client = fresh_client();
    let Message::Welcome(welcome) = first("welcome").1 else { panic!() };
    let welcome = Welcome { keepalive_ms: 1_000, ..welcome };
    client.handle_message(Ref::NONE, welcome.into(), Moment(0));
    client.handle_message(Ref::NONE, first("admitted").1, Moment(0));
    sent(&mut client, Moment(0));
    client.handle_end();
    client.connected(Moment(500));
    client.shown(CALL, Seq(1));
    client.typing(CALL);
    client.handle_timeout(Moment(2_500));
    let sent = sent(&mut client, Moment(2_500));
    assert!(matches!(sent[..], [(Ref::NONE, Message::Hello(_))]), "no ping either: {sent:?}");
    assert!(!sent.contains(&(Ref::NONE, Ping {}.into())));
}

#[test]
fn a_busy_line_is_not_come_back_to() {
    for answer in ["busy", "closed"] {
        let mut client = fresh_client();
        client.handle_message(Ref::NONE, first("welcome").1, Moment(0));
        client.handle_message(Ref::NONE, first(answer).1, Moment(0));
        client.handle_end();
        assert!(matches!(events(&mut client).last(), Some(ClientEvent::Over(Lost::Broken))));
        // Nobody who comes back is asked to wait outside.
        let mut client = offline();
        client.connected(Moment(0));
        client.handle_message(Ref::NONE, first("welcome").1, Moment(0));
        client.handle_message(Ref::NONE, first(answer).1, Moment(0));
        let last = events(&mut client).pop();
        let Some(ClientEvent::Offline(Lost::NotHelpline(DecodeError::OutOfTurn(_)))) = last else {
            panic!("{last:?}");
        };
    }
}

#[test]
fn a_server_cannot_resume_a_client_out_of_turn() {
    let mut client = client_in_call(Nonce(1));
    client.say(CALL, text("under way"), Ref(1)).unwrap();
    sent(&mut client, Moment(1));
    client.handle_message(Ref::NONE, resumed(&[(CALL, 1, 0)]), Moment(1));
    assert!(matches!(events(&mut client)[..], [ClientEvent::Offline(Lost::NotHelpline(_))]));
    assert_eq!(sent(&mut client, Moment(1)), [], "nothing is sent twice");
}

#[test]
fn a_server_that_has_lost_what_it_told_is_not_believed() {
    let mut client = client_in_call(Nonce(1));
    for seq in 1..=3 {
        client.handle_message(Ref::NONE, said(seq, seq + 90, "told"), Moment(1));
    }
    client.handle_end();
    let_in(&mut client, Moment(2));
    events(&mut client);
    client.handle_message(Ref::NONE, resumed(&[(CALL, 1, 2)]), Moment(2));
    assert!(matches!(events(&mut client)[..], [ClientEvent::Offline(Lost::NotHelpline(_))]));
}

#[test]
fn a_call_that_was_seen_to_its_end_does_not_open_again() {
    let mut client = client_in_call(Nonce(1));
    let Message::Ended(ended) = first("ended").1 else { panic!() };
    client.handle_message(Ref::NONE, Ended { call: CALL, seq: Seq(1), ..ended }.into(), Moment(1));
    events(&mut client);
    client.handle_end();
    let_in(&mut client, Moment(2));
    client.shown(CALL, Seq(1));
    client.handle_end();
    let_in(&mut client, Moment(2));
    let asked = sent(&mut client, Moment(2));
    let [_, (_, Message::Resume(resume))] = &asked[..] else { panic!("no answer yet: {asked:?}") };
    assert_eq!(resume.shown, [Shown { call: CALL, seq: Seq(1) }]);
    client.handle_message(Ref::NONE, resumed(&[(CALL, 1, 1)]), Moment(2));
    assert_eq!(sent(&mut client, Moment(2)), [(Ref::NONE, EndSeen { call: CALL }.into())]);
    events(&mut client);
    let connected = Connected { call: CALL, peer: name("Ada"), next_nonce: Nonce(1) };
    client.handle_message(Ref::NONE, connected.into(), Moment(2));
    client.handle_message(Ref::NONE, said(1, 1, "again"), Moment(2));
    assert_eq!(events(&mut client), []);
}

#[test]
fn an_end_that_is_listed_again_and_again_is_answered_once() {
    let mut client = client_in_call(Nonce(1));
    let Message::Ended(ended) = first("ended").1 else { panic!() };
    client.handle_message(Ref::NONE, Ended { call: CALL, seq: Seq(1), ..ended }.into(), Moment(1));
    client.handle_end();
    client.shown(CALL, Seq(1));
    let_in(&mut client, Moment(2));
    sent(&mut client, Moment(2));
    client.handle_message(Ref::NONE, resumed(&[(CALL, 1, 1); 2_000]), Moment(2));
    assert_eq!(sent(&mut client, Moment(2)), [(Ref::NONE, EndSeen { call: CALL }.into())]);
}

// ---- the server's side of it ----

#[test]
fn a_server_lets_in_who_resumes_as_what_they_were() {
    use crate::session::Role;
    for (side, role) in [(Side::Caller, Role::Caller), (Side::Operator, Role::Operator)] {
        let mut server = welcomed();
        let resume = Resume { ticket: TICKET, side, shown: vec![] };
        server.handle_message(Ref(3), resume.clone().into(), Moment(1));
        assert_eq!(server.poll_event(), Some(ServerEvent::Resume(Ref(3), resume)));
        assert_eq!(server.role(), None);
        let Message::Admitted(admitted) = first("admitted").1 else { panic!() };
        server.tell(Message::from(Admitted { ..admitted }).to_frame(Ref(3)).unwrap());
        assert_eq!(server.role(), Some(role));
    }
    let mut server = welcomed();
    let shown = vec![Shown { call: CALL, seq: Seq(1) }; limits::RESUMED_CALLS + 1];
    let resume = Resume { ticket: TICKET, side: Side::Caller, shown };
    server.handle_message(Ref(3), resume.into(), Moment(1));
    assert_eq!(parting(&mut server), Some(Code::BAD_BODY));
    assert_eq!(server.poll_event(), None);
}

#[test]
fn busy_is_told_with_its_reason() {
    let Message::Busy(Busy { why, .. }) = first("busy").1 else { panic!() };
    let mut client = fresh_client();
    client.handle_message(Ref::NONE, first("welcome").1, Moment(1));
    client.handle_message(Ref::NONE, first("busy").1, Moment(1));
    let told = events(&mut client).pop();
    let Some(ClientEvent::Told(_, Message::Busy(busy))) = told else { panic!() };
    assert_eq!(busy.why, why);
}
