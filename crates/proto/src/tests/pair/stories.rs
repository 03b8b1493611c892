//! What happens between a client and the server, story by story.

use std::time::Duration;

use crate::{
    code::{Code, Why},
    error::DecodeError,
    frame::{self, Frame},
    ids::{Answering, CallId, Nonce, Seq, Side, Ticket},
    limits,
    message::{
        Away, Board, Connected, EndSeen, Ended, Error, HangUp, Hello, IsTyping, Join, Limits,
        Message, Next, Ping, Place, Pong, Ref, Say, SignOff, SignOn, Typing, Welcome,
        samples::{name, text},
    },
    session::{
        ClientEvent, ClientSession, Lost, NotOpen, Opening, Role, ServerEvent, ServerSession,
        Settings,
    },
    text::{Agent, Detail, Secret},
    time::Moment,
    version::{self, Version, Versions},
};

use super::world::{Reads, World, drain, entry, first, parting, seated};

pub(super) fn kinds(world: &World, end: usize) -> Vec<&'static str> {
    world.ends[end].told().map(|(_, message)| message.kind().name).collect()
}

fn secs(seconds: u64) -> Moment {
    Moment(seconds * 1000)
}

#[test]
fn a_caller_is_welcomed_and_placed() {
    let mut world = World::new();
    let caller = world.caller();
    world.pass(1);
    assert!(matches!(world.ends[caller].events[0], ClientEvent::Welcomed(_)));
    assert_eq!(kinds(&world, caller), ["admitted", "place", "joined"]);
    assert_eq!(world.conn(caller).server.role(), Some(Role::Caller));
    assert_eq!(world.conn(caller).server.frame_limit(), limits::FRAME);
    let sent: Vec<u16> = world.ends[caller].sent.iter().map(|(_, kind)| *kind).collect();
    assert_eq!(sent, [Hello::NUMBER, Join::NUMBER], "a round trip each, and nothing else");
}

#[test]
fn a_call_is_answered_talked_in_and_ended() {
    let (mut world, caller, operator) = World::connected();
    world.say(caller, "hello", 1);
    world.pass(1);
    world.say(operator, "hello to you", 2);
    world.pass(1);
    world.hang_up(caller);
    world.pass(1);
    assert_eq!(
        kinds(&world, caller),
        ["admitted", "place", "joined", "connected", "joined", "said", "said", "ended"]
    );
    assert_eq!(
        kinds(&world, operator),
        ["admitted", "connected", "joined", "joined", "said", "said", "ended"]
    );
    for end in [caller, operator] {
        assert_eq!(world.ends[end].entries(), world.calls[0].transcript);
        assert!(!world.ends[end].is_over(), "the connection outlives the call");
        let last = world.ends[end].sent.last().map(|(_, kind)| *kind);
        assert_eq!(last, Some(EndSeen::NUMBER), "the end was answered");
    }
}

#[test]
fn references_come_back_with_what_becomes_of_a_request() {
    let (mut world, caller, operator) = World::connected();
    world.say(caller, "first", 11);
    world.say(caller, "second", 12);
    world.ends[operator].client.request(Next {}.into(), Ref(21));
    world.pass(1);
    let said: Vec<Ref> = world.ends[caller]
        .told()
        .filter_map(|(reference, message)| matches!(message, Message::Said(_)).then_some(reference))
        .collect();
    assert_eq!(said, [Ref(11), Ref(12)]);
    let heard = world.ends[operator].told().filter(|(_, it)| matches!(it, Message::Said(_)));
    assert!(heard.into_iter().all(|(reference, _)| reference == Ref::NONE));
    let connected = world.ends[operator].told().find(|(_, it)| matches!(it, Message::Connected(_)));
    assert_eq!(connected.unwrap().0, Ref(900));
    let refused = world.ends[operator].told().find(|(_, it)| matches!(it, Message::Error(_)));
    let Some((Ref(21), Message::Error(Error { code: Code::OCCUPIED, .. }))) = refused else {
        panic!("{refused:?}");
    };
    world.hang_up(operator);
    world.pass_ms(1);
    world.say(caller, "too late", 13);
    world.pass(1);
    assert_eq!(
        world.ends[caller].not_said(),
        [("too late".into(), Ref(13), Some(Code::CALL_ENDED))]
    );
    assert_eq!(world.ends[caller].client.unsaid(), 0);
    let errors = world.ends[caller].told().filter(|(_, it)| matches!(it, Message::Error(_)));
    assert_eq!(errors.count(), 0, "the server's answer to that line is no news");
}

#[test]
fn two_who_hang_up_at_once_hear_of_no_error() {
    let (mut world, caller, operator) = World::connected();
    world.hang_up(caller);
    world.hang_up(operator);
    world.pass(1);
    for end in [caller, operator] {
        let hang_ups = world.ends[end].sent.iter().filter(|(_, kind)| *kind == HangUp::NUMBER);
        assert_eq!(hang_ups.count(), 1);
        let errors = world.ends[end].told().filter(|(_, it)| matches!(it, Message::Error(_)));
        assert_eq!(errors.count(), 0);
        assert_eq!(world.ends[end].entries(), world.calls[0].transcript);
    }
    // A hang-up that is refused while the call goes on is told.
    let mut client = client_in_call(Nonce(1));
    client.hang_up(CallId([1; 16]), Ref(31)).unwrap();
    let (reference, _) = sent(&mut client, Moment(1)).remove(0);
    client.handle_message(reference, first("error").1, Moment(1));
    assert!(matches!(client.poll_event(), Some(ClientEvent::Told(Ref(31), Message::Error(_)))));
}

#[test]
fn a_refused_line_is_not_said_and_the_next_ones_go_on() {
    let mut client = client_in_call(Nonce(7));
    let call = CallId([1; 16]);
    for (at, line) in (0..).zip(["a", "b"]) {
        client.say(call, text(line), Ref(at + 50)).unwrap();
    }
    let says = sent(&mut client, Moment(5));
    assert!(matches!(&says[0].1, Message::Say(say) if say.nonce == Nonce(7)));
    assert_eq!(client.unsaid_bytes(), 2);
    let error = Error { code: Code::NONCE, detail: crate::text::Detail::cut("") };
    client.handle_message(says[0].0, error.into(), Moment(6));
    let Some(ClientEvent::NotSaid { reference, why, text, .. }) = client.poll_event() else {
        panic!("the line is not said");
    };
    assert_eq!((reference, why, text.as_str()), (Ref(50), Some(Code::NONCE), "a"));
    assert_eq!(client.poll_event(), None);
    assert_eq!((client.unsaid(), client.unsaid_bytes()), (1, 1));
}

#[test]
fn the_transcript_is_the_same_however_it_is_cut() {
    let ways = [Reads::AsWritten, Reads::Slices(1), Reads::Slices(7), Reads::Together];
    let transcripts = ways.map(|reads| {
        let (mut world, caller, operator) = World::connected();
        for end in [caller, operator] {
            world.conn(end).up.reads = reads;
            world.conn(end).down.reads = reads;
        }
        for at in 0..20 {
            world.say(caller, &format!("caller's {at}\n"), at);
            world.say(operator, &format!("{at} of the operator's"), at);
        }
        world.pass(5);
        world.hang_up(caller);
        world.pass(1);
        for end in [caller, operator] {
            assert_eq!(world.ends[end].entries(), world.calls[0].transcript, "{reads:?}");
            assert_eq!(world.ends[end].texts().len(), 40);
            assert!(world.calls[0].ended && !world.ends[end].is_over());
        }
        let of = |side| {
            let said = world.calls[0].transcript.iter().filter_map(move |entry| match entry {
                Message::Said(said) if said.from == side => Some(said.text.to_string()),
                _ => None,
            });
            said.collect::<Vec<_>>()
        };
        (of(Side::Caller), of(Side::Operator))
    });
    assert_eq!(transcripts[0].0.len(), 20);
    assert_eq!(transcripts[0].1.len(), 20);
    assert!(transcripts.iter().all(|transcript| *transcript == transcripts[0]));
}

#[test]
fn an_idle_client_pings_exactly_every_fifteen_seconds() {
    let mut world = World::new();
    let caller = world.caller();
    world.pass(1);
    let joined = world.ends[caller].sent[1].0;
    world.pass(100);
    let pings: Vec<Duration> = world.ends[caller].sent[2..]
        .iter()
        .map(|(at, kind)| {
            assert_eq!(*kind, Ping::NUMBER);
            at.since(joined)
        })
        .collect();
    assert_eq!(pings, [15, 30, 45, 60, 75, 90].map(Duration::from_secs));
    assert!(!world.ends[caller].is_over());

    world.say(caller, "still there", 1);
    world.pass(0);
    let said = world.ends[caller].sent.last().unwrap().0;
    world.pass_ms(14_999);
    assert_eq!(world.ends[caller].sent.last().unwrap().0, said, "a line counts as well as a ping");
    world.pass_ms(1);
    let (at, kind) = *world.ends[caller].sent.last().unwrap();
    assert_eq!((at.since(said), kind), (limits::KEEPALIVE, Ping::NUMBER));
}

#[test]
fn a_pong_carries_the_ping_s_reference() {
    let mut server = seated(Role::Caller);
    server.handle_message(Ref(77), Ping {}.into(), Moment(1));
    assert_eq!(drain(&mut server), [(Ref(77), Pong {}.into())]);
    let mut client = client_in_call(Nonce(1));
    client.handle_message(Ref(78), Ping {}.into(), Moment(1));
    assert_eq!(sent(&mut client, Moment(1)), [(Ref(78), Pong {}.into())]);
}

#[test]
fn a_client_says_nothing_but_hello_before_it_is_welcome() {
    let opening = Opening::Resume(Side::Caller, Ticket([1; 32]));
    let mut client = ClientSession::new(opening, Agent::new("test").unwrap(), Moment(0));
    client.handle_message(Ref(78), Ping {}.into(), Moment(1));
    let sent = sent(&mut client, Moment(1));
    assert!(matches!(&sent[..], [(Ref::NONE, Message::Hello(_))]), "{sent:?}");
}

#[test]
fn a_client_that_hears_nothing_for_45_seconds_lets_go_of_the_connection() {
    let (mut world, caller, _) = World::connected();
    world.say(caller, "anyone?", 5);
    world.pass(1);
    world.conn(caller).down.dead = true;
    world.say(caller, "hello?", 6);
    world.pass_ms(43_000);
    assert_eq!(world.ends[caller].offline(), [] as [&Lost; 0]);
    world.pass(3);
    assert_eq!(world.ends[caller].offline(), [&Lost::Silent]);
    assert!(world.ends[caller].client.poll_timeout().is_none());
    assert_eq!(world.ends[caller].client.unsaid(), 1, "the line is kept");
    assert_eq!(world.ends[caller].not_said(), []);
}

#[test]
fn a_server_that_hears_nothing_for_45_seconds_parts() {
    let (mut world, caller, operator) = World::connected();
    world.conn(caller).up.dead = true;
    world.pass(43);
    assert_eq!(world.ends[caller].goodbye(), None);
    world.pass(3);
    assert_eq!(world.ends[caller].goodbye(), Some(Code::SILENT));
    assert!(!world.ends[caller].is_over(), "it may come back");
    let call = world.calls[0].id;
    let told = world.ends[operator].told().last().unwrap().1.clone();
    assert_eq!(told, Away { call, from: Side::Caller }.into(), "the other side is told");

    let mut server = seated(Role::Operator);
    assert_eq!(server.poll_timeout(), Some(secs(45)));
    server.handle_timeout(Moment(44_999));
    assert!(!server.is_closing());
    server.handle_timeout(secs(45));
    assert_eq!(parting(&mut server), Some(Code::SILENT));
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn whoever_is_not_let_in_within_ten_seconds_is_sent_away() {
    for steps in 0..3 {
        let mut server = ServerSession::new(Settings::default(), secs(100));
        for step in ["hello", "join"].iter().take(steps) {
            server.handle_message(Ref::NONE, first(step).1, secs(109));
        }
        assert_eq!(server.poll_timeout(), Some(secs(110)));
        server.handle_timeout(Moment(109_999));
        assert!(!server.is_closing());
        server.handle_timeout(secs(110));
        assert_eq!(parting(&mut server), Some(Code::TOO_LATE));
    }
}

#[test]
fn a_client_waits_ten_seconds_for_an_answer() {
    let mut world = World::new();
    let caller = world.caller();
    world.conn(caller).up.dead = true;
    world.conn(caller).down.dead = true;
    world.pass_ms(9_999);
    assert!(!world.ends[caller].is_over());
    world.pass_ms(1);
    assert_eq!(world.ends[caller].lost(), Some(&Lost::NoAnswer));
}

#[test]
fn a_frame_once_begun_takes_at_most_ten_seconds() {
    let (mut world, caller, _) = World::connected();
    let now = world.now;
    let bytes = first("hang_up").0;
    world.conn(caller).up.write(&bytes[..bytes.len() - 1], now);
    for _ in 0..9 {
        world.pass(1);
        assert!(!world.conn(caller).server.is_closing());
    }
    world.pass(2);
    assert_eq!(world.ends[caller].goodbye(), Some(Code::TOO_LATE));
}

#[test]
fn a_byte_now_and_then_buys_no_time() {
    let (mut world, caller, _) = World::connected();
    let bytes = first("hang_up").0;
    for byte in &bytes[..12] {
        let now = world.now;
        world.conn(caller).up.write(&[*byte], now);
        world.pass(1);
    }
    assert_eq!(world.ends[caller].goodbye(), Some(Code::TOO_LATE));
}

#[test]
fn a_peer_that_takes_nothing_for_ten_seconds_is_cut() {
    let (mut world, caller, operator) = World::connected();
    world.conn(operator).down.full = true;
    world.say(caller, "do you read me?", 1);
    world.pass(9);
    assert!(!world.conn(operator).server.is_closing());
    assert!(world.conn(operator).server.waiting() > 0);
    world.pass(2);
    assert_eq!(parting(&mut world.conn(operator).server), Some(Code::TOO_SLOW));
    let call = world.calls[0].id;
    let told = world.ends[caller].told().last().unwrap().1.clone();
    assert_eq!(told, Away { call, from: Side::Operator }.into());
}

#[test]
fn a_peer_that_takes_a_little_is_not_cut() {
    let mut server = seated(Role::Operator);
    server.tell(first("said").0);
    for second in 0..40 {
        server.stuck(secs(second));
        if second % 9 == 0 {
            server.progressed();
        }
        server.handle_timeout(secs(second));
    }
    assert!(!server.is_closing());
}

#[test]
fn strangers_without_a_common_version_part_politely() {
    let mut server = ServerSession::new(Settings::default(), Moment(0));
    let hello = Hello {
        versions: Versions { lowest: Version(2), highest: Version(9) },
        features: 0,
        agent: Agent::new("from the future").unwrap(),
    };
    server.handle_message(Ref(1), hello.into(), Moment(0));
    assert_eq!(parting(&mut server), Some(Code::NO_COMMON_VERSION));

    let mut client = fresh_client();
    let Message::Welcome(welcome) = first("welcome").1 else { panic!() };
    client.handle_message(Ref::NONE, Welcome { version: Version(2), ..welcome }.into(), Moment(1));
    assert!(matches!(client.poll_event(), Some(ClientEvent::Over(Lost::NotHelpline(_)))));
}

#[test]
fn unknown_kinds_end_a_strangers_visit_and_are_passed_over_later() {
    let unknown = |reference| Frame { kind: 31, reference, body: b"?" };
    let mut server = ServerSession::new(Settings::default(), Moment(0));
    server.handle(unknown(Ref(3)), Moment(0));
    assert_eq!(parting(&mut server), Some(Code::UNKNOWN_KIND));

    for mut server in [seated(Role::Caller), welcomed()] {
        server.handle(unknown(Ref::NONE), Moment(1));
        assert_eq!(drain(&mut server), []);
        server.handle(unknown(Ref(3)), Moment(1));
        let answers = drain(&mut server);
        let [(Ref(3), Message::Error(error))] = answers.as_slice() else { panic!("{answers:?}") };
        assert_eq!(error.code, Code::UNKNOWN_KIND);
        assert!(!server.is_closing());
    }

    let mut client = fresh_client();
    client.handle(unknown(Ref::NONE), Moment(1));
    assert!(matches!(client.poll_event(), Some(ClientEvent::Over(Lost::NotHelpline(_)))));
    let mut client = client_in_call(Nonce(1));
    client.handle(unknown(Ref::NONE), Moment(40_000));
    assert_eq!(client.poll_event(), None);
    client.handle_timeout(Moment(50_000));
    assert_eq!(client.poll_event(), None, "and count as life");
}

#[test]
fn what_belongs_to_the_other_end_counts_as_unknown() {
    let mut server = seated(Role::Operator);
    server.handle_message(Ref::NONE, first("said").1, Moment(1));
    assert_eq!(drain(&mut server), []);
    server.handle_message(Ref(9), first("board").1, Moment(1));
    let answers = drain(&mut server);
    let [(Ref(9), Message::Error(error))] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(error.code, Code::UNKNOWN_KIND);

    let mut client = client_in_call(Nonce(1));
    client.handle_message(Ref::NONE, first("say").1, Moment(1));
    assert_eq!(client.poll_event(), None);
}

#[test]
fn an_error_is_never_answered_with_another() {
    let mut server = seated(Role::Caller);
    server.handle_message(Ref(4), first("error").1, Moment(1));
    assert_eq!(drain(&mut server), []);
    assert!(!server.is_closing());
}

#[test]
fn requests_of_the_other_role_are_not_allowed() {
    let mut server = seated(Role::Caller);
    let operators = ["next", "answer", "ready", "pause", "sign_off", "sign_on"];
    for (reference, request) in (1..).zip(operators) {
        server.handle_message(Ref(reference), first(request).1, Moment(1));
        let answers = drain(&mut server);
        let [(asked, Message::Error(error))] = answers.as_slice() else { panic!("{answers:?}") };
        assert_eq!((*asked, error.code), (Ref(reference), Code::NOT_ALLOWED), "{request}");
    }
    assert_eq!(server.poll_event(), None);
    for role in [Role::Caller, Role::Operator] {
        for again in ["hello", "join", "welcome"] {
            let mut server = seated(role);
            server.handle_message(Ref(5), first(again).1, Moment(1));
            let answers = drain(&mut server);
            let [(Ref(5), Message::Error(error))] = answers.as_slice() else { panic!() };
            assert_eq!(error.code, Code::OUT_OF_TURN, "{again}");
            assert_eq!(server.poll_event(), None);
        }
    }
}

#[test]
fn talking_before_being_let_in_is_out_of_turn() {
    for steps in [&[][..], &["hello"], &["hello", "join"]] {
        for early in ["say", "next", "hang_up", "typing"] {
            let mut server = ServerSession::new(Settings::default(), Moment(0));
            for step in steps {
                server.handle_message(Ref(1), first(step).1, Moment(0));
            }
            drain(&mut server);
            server.handle_message(Ref(2), first(early).1, Moment(0));
            assert_eq!(parting(&mut server), Some(Code::OUT_OF_TURN), "{early} after {steps:?}");
        }
    }
}

#[test]
fn a_stranger_gets_small_frames_only() {
    let mut server = ServerSession::new(Settings::default(), Moment(0));
    assert_eq!(server.frame_limit(), limits::FRAME_BEFORE);
    let error = crate::frame::split(b"GET / HTTP/1.1\r\n", server.frame_limit()).unwrap_err();
    server.handle_garbage(error);
    assert_eq!(parting(&mut server), Some(Code::TOO_LARGE));
    assert_eq!(welcomed().frame_limit(), limits::FRAME_BEFORE);
    assert_eq!(seated(Role::Caller).frame_limit(), limits::FRAME);
}

#[test]
fn a_body_that_is_none_ends_the_connection_with_the_reason() {
    let mut server = seated(Role::Caller);
    server.handle(Frame { kind: Say::NUMBER, reference: Ref(8), body: b"not a say" }, Moment(1));
    assert_eq!(parting(&mut server), Some(Code::BAD_BODY));
    server.handle_message(Ref(9), first("say").1, Moment(2));
    assert_eq!(server.poll_event(), None, "nothing is heard after the last words");
}

#[test]
fn sixty_four_lines_are_under_way_at_once_and_no_more() {
    let mut client = client_in_call(Nonce(1));
    let call = CallId([1; 16]);
    for at in 0..100 {
        client.say(call, text("line"), Ref(at)).unwrap();
    }
    client.hang_up(call, Ref(200)).unwrap();
    let under_way = sent(&mut client, Moment(1));
    assert_eq!(under_way.len(), limits::UNANSWERED);
    let Message::Said(said) = first("said").1 else { panic!() };
    for answered in 1..=36 {
        let said = crate::message::Said {
            call,
            seq: Seq(answered),
            nonce: Nonce(answered),
            ..said.clone()
        };
        client.handle_message(Ref::NONE, said.into(), Moment(2));
        let next = sent(&mut client, Moment(2));
        assert!(
            matches!(&next[0].1, Message::Say(say) if say.nonce == Nonce(answered + 64)),
            "one comes out for each that is said"
        );
        assert_eq!(next.len(), if answered == 36 { 2 } else { 1 }, "the hang-up goes last");
    }
    assert_eq!(client.unsaid(), 64);
}

#[test]
fn a_hang_up_goes_out_behind_everything_said_before() {
    let (mut world, caller, operator) = World::connected();
    for at in 0..90 {
        world.say(caller, &format!("line {at}"), at);
    }
    world.hang_up(caller);
    let call = world.ends[caller].call();
    assert_eq!(world.ends[caller].client.say(call, text("after"), Ref(99)), Err(NotOpen));
    assert_eq!(world.ends[caller].client.hang_up(call, Ref(98)), Ok(()), "once is enough");
    world.pass(20);
    assert_eq!(world.ends[operator].texts().len(), 90);
    assert_eq!(world.ends[operator].texts(), world.ends[caller].texts());
    assert!(world.calls[0].ended);
    assert_eq!(world.ends[caller].not_said(), []);
    let hang_ups = world.ends[caller].sent.iter().filter(|(_, kind)| *kind == HangUp::NUMBER);
    assert_eq!(hang_ups.count(), 1);
}

#[test]
fn what_is_unsaid_when_the_other_side_hangs_up_is_told() {
    let (mut world, caller, operator) = World::connected();
    for at in 0..80 {
        world.say(caller, &format!("line {at}"), at);
    }
    world.hang_up(operator);
    world.pass(20);
    let (said, not_said) = (world.ends[caller].texts(), world.ends[caller].not_said());
    assert_eq!(said.len() + not_said.len(), 80);
    assert!(!not_said.is_empty());
    assert!(not_said.iter().all(|(_, _, why)| *why == Some(Code::CALL_ENDED)));
    let call = world.ends[caller].call();
    assert_eq!(world.ends[caller].client.say(call, text("more"), Ref(1)), Err(NotOpen));
    assert_eq!(world.ends[caller].entries(), world.calls[0].transcript);
}

#[test]
fn a_flood_is_slowed_down_and_nothing_of_it_is_lost() {
    let (mut world, caller, operator) = World::connected();
    world.conn(caller).up.reads = Reads::Together;
    for at in 0..250 {
        world.say(caller, &format!("line {at}"), at);
    }
    let begun = world.now;
    world.pass_ms(100);
    let at_once = world.ends[operator].texts().len();
    assert!((50..=52).contains(&at_once), "a burst of 50 at once: {at_once}");
    world.pass(5);
    let passed = world.now.since(begun).as_secs();
    let heard = world.ends[operator].texts().len() as u64;
    assert!((50 + 19 * passed..=50 + 20 * passed + 2).contains(&heard), "20 a second: {heard}");
    world.pass(6);
    let lines: Vec<String> = (0..250).map(|at| format!("line {at}")).collect();
    assert_eq!(world.ends[operator].texts(), lines);
    assert_eq!(world.ends[caller].texts(), lines);
}

#[test]
fn the_host_may_lift_the_rate() {
    let mut server = ServerSession::new(Settings { says_a_second: None }, Moment(0));
    let (_, ping) = first("ping");
    for _ in 0..1000 {
        server.handle_message(Ref::NONE, ping.clone(), Moment(0));
    }
    assert_eq!(server.paused_until(Moment(0)), None);
}

#[test]
fn whatever_floods_is_slowed_down_and_bounded() {
    for flood in ["ping", "sign_on", "next", "typing"] {
        let mut server = seated(Role::Caller);
        let (_, message) = first(flood);
        let mut handled = 0;
        while server.paused_until(Moment(1)).is_none() {
            server.handle_message(Ref(1), message.clone(), Moment(1));
            handled += 1;
        }
        assert!(handled <= limits::SAYS_AT_ONCE, "{flood}: {handled}");
    }
    // And where nobody pauses:
    for flood in ["ping", "next"] {
        let mut server = seated(Role::Caller);
        let (_, message) = first(flood);
        for _ in 0..30_000 {
            server.handle_message(Ref(1), message.clone(), Moment(1));
            assert!(server.waiting() < limits::OUTBOX + 1024);
        }
        assert_eq!(parting(&mut server), Some(Code::TOO_SLOW), "{flood}");
    }
    let mut client = client_in_call(Nonce(1));
    for _ in 0..30_000 {
        client.handle_message(Ref(1), Ping {}.into(), Moment(1));
        client.typing(CallId([1; 16]));
    }
    assert!(sent(&mut client, Moment(1)).len() < 100);
}

#[test]
fn typing_is_passed_on_once_a_second() {
    let mut server = seated(Role::Caller);
    let typing = || Message::from(Typing { call: CallId([1; 16]) });
    for millis in (0..5_000).step_by(100) {
        server.handle_message(Ref::NONE, typing(), Moment(millis));
    }
    let passed = std::iter::from_fn(|| server.poll_event());
    assert_eq!(passed.filter(|event| matches!(event, ServerEvent::Typing(_))).count(), 5);

    let (mut world, caller, operator) = World::connected();
    let call = world.ends[caller].call();
    world.ends[caller].client.typing(call);
    world.pass(1);
    let told = world.ends[operator].told().last().unwrap().1.clone();
    assert_eq!(told, IsTyping { call, from: Side::Caller }.into());
}

#[test]
fn a_gap_in_the_entries_ends_the_connection() {
    let mut client = client_in_call(Nonce(1));
    let Message::Said(said) = first("said").1 else { panic!() };
    let said = |seq| {
        let said = said.clone();
        crate::message::Said { call: CallId([1; 16]), seq: Seq(seq), from: Side::Operator, ..said }
    };
    client.say(CallId([1; 16]), text("unsaid"), Ref(3)).unwrap();
    client.handle_message(Ref::NONE, said(1).into(), Moment(1));
    assert!(matches!(client.poll_event(), Some(ClientEvent::Told(Ref::NONE, Message::Said(_)))));
    client.handle_message(Ref::NONE, said(3).into(), Moment(1));
    assert_eq!(client.poll_event(), Some(ClientEvent::Offline(Lost::Gap(Seq(1)))));
    client.handle_message(Ref::NONE, said(2).into(), Moment(1));
    assert_eq!(client.poll_event(), None);
    assert_eq!(client.unsaid(), 1, "what is unsaid is kept");
}

#[test]
fn repeated_entries_are_passed_over() {
    let (mut world, caller, operator) = World::connected();
    world.ends[operator].shows = false;
    world.say(caller, "once", 1);
    world.pass(1);
    for _ in 0..2 {
        for entry in world.calls[0].transcript.clone() {
            world.tell(operator, Ref::NONE, entry.clone());
            world.tell(caller, Ref::NONE, entry);
        }
        world.pass(1);
    }
    world.hang_up(caller);
    world.pass(1);
    let end = world.calls[0].transcript.last().unwrap().clone();
    world.tell(operator, Ref::NONE, end.clone());
    world.tell(caller, Ref::NONE, end);
    world.pass(1);
    for end in [caller, operator] {
        assert_eq!(world.ends[end].entries(), world.calls[0].transcript);
    }
    let (call, seq) = entry(world.calls[0].transcript.last().unwrap()).unwrap();
    let operator = &mut world.ends[operator].client;
    operator.shown(call, Seq(seq.0 - 1));
    assert_eq!(operator.poll_transmit(Moment(0)), None, "what is shown isn't the end yet");
    operator.shown(call, seq);
    operator.shown(call, seq);
    assert_eq!(sent(operator, Moment(0)), [(Ref::NONE, EndSeen { call }.into())], "told once");
}

#[test]
fn entries_of_no_open_call_are_passed_over() {
    let mut client = client_in_call(Nonce(1));
    client.handle_message(Ref::NONE, first("said").1, Moment(1));
    assert_eq!(client.poll_event(), None);
}

#[test]
fn a_busy_line_says_so_and_closes() {
    let mut world = World::new();
    let caller = world.caller();
    world.pass_ms(65);
    // Asked, and the answer not yet given: this one overtakes the switchboard's.
    let mut server = welcomed();
    server.handle_message(Ref(1), first("join").1, Moment(0));
    server.tell(first("busy").0);
    assert!(server.is_closing());
    server.tell(first("admitted").0);
    assert_eq!(drain(&mut server).len(), 1, "nothing comes behind it");
    assert_eq!(server.role(), None);

    let mut client = fresh_client();
    client.handle_message(Ref::NONE, first("welcome").1, Moment(1));
    client.handle_message(Ref(1), first("busy").1, Moment(1));
    client.handle_end();
    client.poll_event();
    assert!(matches!(client.poll_event(), Some(ClientEvent::Told(Ref::NONE, Message::Busy(_)))));
    assert_eq!(client.poll_event(), Some(ClientEvent::Over(Lost::Broken)));
    drop((world, caller));
}

#[test]
fn a_goodbye_from_either_end_is_the_end() {
    let (mut world, _, operator) = World::connected();
    world.ends[operator].client.request(SignOff {}.into(), Ref(5));
    world.pass(1);
    assert_eq!(world.ends[operator].goodbye(), Some(Code::DONE));
    assert!(world.ends[operator].is_over());

    let mut server = seated(Role::Caller);
    server.handle_message(Ref::NONE, first("goodbye").1, Moment(1));
    assert!(server.is_closing());
    assert_eq!(server.poll_timeout(), None);
    server.close(Code::INTERNAL, "again");
    assert_eq!(drain(&mut server), [], "a goodbye isn't answered");
}

#[test]
fn a_request_before_being_let_in_is_answered_at_once() {
    let mut client = fresh_client();
    client.request(Next {}.into(), Ref(6));
    let Some(ClientEvent::Told(Ref(6), Message::Error(error))) = client.poll_event() else {
        panic!("it is answered");
    };
    assert_eq!(error.code, Code::OUT_OF_TURN);
    assert_eq!(sent(&mut client, Moment(0)).len(), 1, "only the hello goes out");
}

#[test]
fn a_server_cannot_make_a_client_ping_without_end() {
    for (asked, every) in [(0, 1_000), (1, 1_000), (5_000, 5_000), (u32::MAX, 15_000)] {
        let mut client = fresh_client();
        sent(&mut client, Moment(0));
        let Message::Welcome(welcome) = first("welcome").1 else { panic!() };
        let welcome = Welcome { keepalive_ms: asked, ..welcome };
        client.handle_message(Ref::NONE, welcome.into(), Moment(0));
        client.handle_message(Ref::NONE, first("admitted").1, Moment(0));
        sent(&mut client, Moment(0));
        assert_eq!(client.poll_timeout(), Some(Moment(every)), "{asked}");
    }
}

#[test]
fn a_server_cannot_open_calls_without_end() {
    let mut client = client_in_call(Nonce(1));
    for number in 2..=255 {
        let connected =
            Connected { call: CallId([number; 16]), peer: name("Wei"), next_nonce: Nonce(1) };
        client.handle_message(Ref::NONE, connected.into(), Moment(1));
    }
    let events: Vec<ClientEvent> = std::iter::from_fn(|| client.poll_event()).collect();
    assert!(events.len() < 100);
    assert!(matches!(events.last(), Some(ClientEvent::Offline(Lost::NotHelpline(_)))));
}

#[test]
fn lines_under_way_are_remembered_however_much_else_is_asked() {
    let mut client = client_in_call(Nonce(1));
    client.say(CallId([1; 16]), text("remember me"), Ref(3)).unwrap();
    let (reference, _) = sent(&mut client, Moment(1)).remove(0);
    for at in 0..10_000 {
        client.request(Next {}.into(), Ref(at));
        client.poll_transmit(Moment(1));
    }
    let error = Error { code: Code::CALL_FULL, detail: crate::text::Detail::cut("") };
    client.handle_message(reference, error.into(), Moment(2));
    let Some(ClientEvent::NotSaid { reference, .. }) = client.poll_event() else { panic!() };
    assert_eq!(reference, Ref(3));
}

#[test]
fn what_answers_in_another_language_is_no_helpline() {
    let mut client = fresh_client();
    client.handle_garbage(crate::frame::split(b"HTTP", limits::FRAME).unwrap_err());
    let Some(ClientEvent::Over(Lost::NotHelpline(error))) = client.poll_event() else { panic!() };
    assert!(matches!(error, DecodeError::Frame(_)));

    let mut client = fresh_client();
    let board = Board { waiting: 0, first: vec![], talking: vec![] };
    client.handle_message(Ref::NONE, board.into(), Moment(1));
    let Some(ClientEvent::Over(Lost::NotHelpline(error))) = client.poll_event() else { panic!() };
    assert_eq!(error.code(), Code::OUT_OF_TURN);
}

#[test]
fn a_call_may_end_while_it_waits() {
    let mut world = World::new();
    let caller = world.caller();
    world.pass(1);
    world.say(caller, "before anybody answers", 1);
    world.hang_up(caller);
    world.pass(1);
    assert_eq!(world.ends[caller].texts(), ["before anybody answers"]);
    assert!(matches!(
        world.ends[caller].entries().last(),
        Some(Message::Ended(Ended { why: Why::BYE, .. }))
    ));
}

pub(super) fn fresh_client() -> ClientSession {
    let join = Join { ticket: Ticket([1; 32]), line: None, name: name("Wei"), invite: None };
    ClientSession::new(Opening::Join(join), Agent::new("pair").unwrap(), Moment(0))
}

pub(super) fn welcomed() -> ServerSession {
    let mut server = ServerSession::new(Settings::default(), Moment(0));
    server.handle_message(Ref::NONE, first("hello").1, Moment(0));
    assert!(matches!(drain(&mut server).as_slice(), [(Ref::NONE, Message::Welcome(_))]));
    server
}

/// A caller's client in the call `[1; 16]`, everything so far drained.
pub(super) fn client_in_call(next_nonce: Nonce) -> ClientSession {
    let mut client = fresh_client();
    client.handle_message(Ref::NONE, first("welcome").1, Moment(0));
    client.handle_message(Ref::NONE, first("admitted").1, Moment(0));
    let place = Place { call: CallId([1; 16]), position: 1, waiting: 1, wait_s: None, next_nonce };
    client.handle_message(Ref::NONE, place.into(), Moment(0));
    while client.poll_event().is_some() {}
    sent(&mut client, Moment(0));
    client
}

pub(super) fn sent(client: &mut ClientSession, now: Moment) -> Vec<(Ref, Message)> {
    let frames = std::iter::from_fn(|| client.poll_transmit(now));
    let messages = frames.map(|bytes| {
        let frame = crate::frame::split(&bytes, limits::FRAME).unwrap().unwrap();
        (frame.reference, Message::decode(frame).unwrap())
    });
    messages.collect()
}

#[test]
fn a_session_that_is_printed_keeps_secrets_and_texts() {
    let canary = "c0ffee-c0ffee";
    let secret = Secret::new(canary).unwrap();
    let (ticket, name, answering) = (Ticket([0x5a; 32]), name("Wei"), Answering::ByHand);
    let sign_on = SignOn { ticket, name, answering, token: Some(secret) };
    let agent = Agent::new("a test").unwrap();
    let mut client = ClientSession::new(Opening::SignOn(sign_on), agent, Moment(0));
    let welcome = Welcome {
        version: version::CURRENT,
        features: 0,
        limits: Limits { frame: limits::FRAME, text: 1 },
        keepalive_ms: 15_000,
    };
    client.handle_message(Ref::NONE, welcome.into(), Moment(0));
    let mut printed = vec![format!("{client:?}")];
    let mut server = ServerSession::new(Settings::default(), Moment(0));
    while let Some(bytes) = client.poll_transmit(Moment(0)) {
        server.handle(frame::split(&bytes, limits::FRAME).unwrap().unwrap(), Moment(0));
    }
    let error: Message = Error { code: Code::DONE, detail: Detail::cut(canary) }.into();
    server.tell(error.to_frame(Ref::NONE).unwrap());
    printed.push(format!("{server:?}"));
    // As text, and as the bytes of a frame.
    let bytes = canary.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    for printed in printed {
        assert!(!printed.contains("c0ffee") && !printed.contains(&bytes), "{printed}");
        assert!(!printed.contains("90, 90") && !printed.contains("ZZZZ"), "the ticket: {printed}");
    }
}
