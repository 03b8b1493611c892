//! `helpline --json`: every event and every command that there is today.

use helpline_proto::message::SignOff;
use helpline_tests::{Client, Event, PATIENCE, Peer, Server};
use serde_json::{Value, json};

/// A caller's program that has been let in.
fn caller(server: &Server) -> Client {
    let mut caller = Client::call(server.address()).name("Ada").json().start();
    caller.expect("welcome");
    caller
}

/// An operator's program that has signed on.
fn desk(server: &Server, name: &str, args: &[&str]) -> Client {
    let setup = Client::desk(server.address()).name(name).json();
    let mut desk = setup.args(args.iter().copied()).start();
    desk.expect("welcome");
    desk
}

/// Two programs in a call with each other, and the call.
fn pair(server: &Server) -> (Client, Client, Value) {
    let mut wei = desk(server, "Wei", &["--auto"]);
    let mut ada = caller(server);
    let call = ada.expect("connected").body["call"].clone();
    assert_eq!(wei.expect("connected").body["call"], call, "both sides know it by the same name");
    (ada, wei, call)
}

/// A caller's program in a call with an operator on a wire, and the call.
fn caller_and_peer(server: &Server) -> (Client, Peer, Value) {
    let mut operator = Peer::operator(server.address(), "Wei");
    let mut ada = caller(server);
    operator.expect_connected();
    let call = ada.expect("connected").body["call"].clone();
    (ada, operator, call)
}

/// The body, without the fields named: what a reader isn't promised, or what differs every time.
fn without(event: &Event, fields: &[&str]) -> Value {
    let mut body = event.body.clone();
    for field in fields {
        assert!(body.as_object_mut().unwrap().remove(*field).is_some(), "{field} in {event:?}");
    }
    body
}

fn is_call(call: &Value) -> bool {
    call.as_str().is_some_and(|call| !call.is_empty())
}

/// Waits for the error that answers a command.
fn error(client: &mut Client, reference: u64, code: &str) -> Event {
    let error = client.expect_within(PATIENCE, "error", |event| event.reference == reference);
    assert_eq!(error.body["code"], code, "{error:?}");
    assert!(error.body["detail"].is_string(), "{error:?}");
    error
}

#[test]
fn welcome_is_for_who_is_let_in() {
    let server = Server::with().line("night").greeting("Welcome.\nBreathe.").start();
    let mut ada = Client::call(server.address()).name("Ada").json().start();
    let welcome = ada.expect("welcome");
    let wanted = json!({"line": "night", "name": "Ada", "greeting": "Welcome.\nBreathe."});
    assert_eq!((welcome.reference, welcome.body), (0, wanted));
    let mut wei = Client::desk(server.address()).name("Wei").json().start();
    assert_eq!(wei.expect("welcome").body["name"], "Wei");
    let plain = Server::start();
    let mut bo = Client::call(plain.address()).json().start();
    let wanted = json!({"line": "main", "name": "caller", "greeting": null});
    assert_eq!(bo.expect("welcome").body, wanted);
}

#[test]
fn place_is_told_on_joining_and_on_change() {
    let server = Server::start();
    let mut first = Peer::caller(server.address(), "First");
    first.expect_place();
    let mut ada = caller(&server);
    let place = ada.expect("place");
    assert!(is_call(&place.body["call"]));
    let wanted = json!({"position": 2, "waiting": 2, "wait_s": null});
    assert_eq!(without(&place, &["call", "next_nonce"]), wanted);
    first.hang_up();
    let moved = ada.expect("place");
    assert_eq!(moved.body["call"], place.body["call"]);
    assert_eq!((&moved.body["position"], &moved.body["waiting"]), (&json!(1), &json!(1)));
}

#[test]
fn place_is_not_told_to_who_is_answered_at_once() {
    let server = Server::start();
    let (ada, ..) = pair(&server);
    let kinds: Vec<String> = ada.events().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds.first().map(String::as_str), Some("welcome"));
    assert!(!kinds.contains(&"place".to_owned()), "{kinds:?}");
}

#[test]
fn connected_names_the_other_side() {
    let server = Server::start();
    let mut wei = desk(&server, "Wei", &["--auto"]);
    let mut ada = caller(&server);
    let connected = ada.expect("connected");
    assert!(is_call(&connected.body["call"]));
    assert_eq!(without(&connected, &["call", "next_nonce"]), json!({"peer": "Wei"}));
    assert_eq!(wei.expect("connected").body["peer"], "Ada");
}

#[test]
fn said_is_for_both_sides_and_answers_the_command() {
    let server = Server::start();
    let (mut ada, mut wei, call) = pair(&server);
    ada.command(&json!({"kind": "say", "ref": 4_294_967_295_u32, "body": {"text": "one\n小"}}));
    let own = ada.expect("said");
    assert_eq!(own.reference, 4_294_967_295, "the reference comes back: it is recorded");
    assert!(own.body["at"].as_i64().is_some_and(|at| at > 1_700_000_000_000), "{own:?}");
    let wanted =
        json!({"call": call, "from": "caller", "name": "Ada", "text": "one\n小", "nonce": 1});
    assert_eq!(without(&own, &["at", "seq"]), wanted);
    let heard = wei.expect("said");
    assert_eq!((heard.reference, &heard.body), (0, &own.body), "the same for both but for that");
    // Text that isn't a command is said too, with no reference.
    wei.type_line("just text");
    let said = ada.expect("said");
    assert_eq!((said.reference, &said.body["text"]), (0, &json!("just text")));
    assert_eq!(said.body["seq"].as_u64(), own.body["seq"].as_u64().map(|seq| seq + 1));
    wei.type_line(r#" {"kind":"hang_up"}"#);
    assert_eq!(ada.expect("said").body["text"], r#" {"kind":"hang_up"}"#);
    // The call may be named.
    wei.command(&json!({"kind": "say", "ref": 2, "body": {"call": call, "text": "named"}}));
    assert_eq!(
        wei.expect_within(PATIENCE, "said", |said| said.reference == 2).body["text"],
        "named"
    );
    assert_eq!(ada.expect("said").body["from"], "operator");
}

#[test]
fn n32_nothing_that_a_terminal_obeys_is_on_standard_output() {
    let server = Server::start();
    let (mut ada, mut operator, _) = caller_and_peer(&server);
    let hostile = "\x1b[2J\x07\u{7f}\u{9b}2J\u{202e}\u{2066}\u{200e}\u{2028}\r\n\0\"\\小";
    operator.say(hostile);
    let said = ada.expect("said");
    assert_eq!(said.body["text"], hostile, "a reader has every character back");
    let line = ada.wait_for_line("said");
    let escaped = r#"\u001b[2J\u0007\u007f\u009b2J\u202e\u2066\u200e\u2028\r\n\u0000\"\\小"#;
    assert!(line.contains(escaped), "{line}");
    assert!(!line.chars().any(char::is_control), "{line:?}");
}

#[test]
fn typing_is_told_to_the_other_side() {
    let server = Server::start();
    let (mut ada, mut wei, call) = pair(&server);
    ada.command(&json!({"kind": "typing"}));
    let typing = wei.expect("typing");
    assert_eq!(typing.body, json!({"call": call, "from": "caller"}));
    wei.command(&json!({"kind": "typing", "body": {"call": call}}));
    assert_eq!(ada.expect("typing").body["from"], "operator");
    assert!(!ada.events().iter().any(|event| event.kind == "error"));
}

#[test]
fn ended_says_by_whom_and_why_after_hang_up() {
    let server = Server::start();
    let (mut ada, mut wei, call) = pair(&server);
    ada.command(&json!({"kind": "hang_up", "ref": 5}));
    for client in [&mut ada, &mut wei] {
        let ended = client.expect("ended");
        let wanted = json!({"call": call, "by": "caller", "why": "bye"});
        assert_eq!(without(&ended, &["seq", "at"]), wanted);
    }
    assert_eq!(ada.wait().code, 0);
    // The desk goes on, and `hang_up` works on its side too.
    let mut bo = caller(&server);
    let call = wei.expect("connected").body["call"].clone();
    wei.command(&json!({"kind": "hang_up", "body": {"call": call}}));
    let ended = bo.expect("ended");
    assert_eq!(ended.body["by"], "operator");
    assert_eq!(bo.wait().code, 0);
    assert!(wei.is_running());
}

#[test]
fn n14_a_plain_bye_hangs_up_and_a_said_one_does_not() {
    let server = Server::start();
    let (mut ada, mut wei, _) = pair(&server);
    ada.command(&json!({"kind": "say", "body": {"text": "bye"}}));
    assert_eq!(wei.expect("said").body["text"], "bye");
    ada.type_line("still here");
    assert_eq!(wei.expect("said").body["text"], "still here");
    ada.type_line(" Bye ");
    assert_eq!(wei.expect("said").body["text"], "Bye");
    assert_eq!(wei.expect("ended").body["by"], "caller");
    assert_eq!(ada.wait().code, 0);
    let mut bo = caller(&server);
    wei.expect("connected");
    wei.type_line("BYE");
    assert_eq!(bo.expect("said").body["text"], "BYE");
    assert_eq!(bo.expect("ended").body["by"], "operator");
}

#[test]
fn joined_and_left_are_entries() {
    let server = Server::start();
    let (mut ada, mut wei, call) = caller_and_peer(&server);
    let joined = ada.expect_within(PATIENCE, "joined", |joined| joined.body["from"] == "operator");
    let wanted = json!({"call": call, "from": "operator", "name": "Wei"});
    assert_eq!(without(&joined, &["seq", "at"]), wanted);
    ada.type_line("my story");
    wei.expect_said();
    wei.send(SignOff {});
    let left = ada.expect("left");
    assert_eq!(without(&left, &["seq", "at"]), wanted);
    let mut li = desk(&server, "Li", &["--auto"]);
    assert_eq!(ada.expect("connected").body["peer"], "Li");

    // Earlier entries follow in order, without a gap.
    assert_eq!(li.expect("connected").body["call"], call);
    let own_joined = li.expect_within(PATIENCE, "joined", |joined| joined.body["name"] == "Li");
    let last = own_joined.body["seq"].as_u64();
    let entries: Vec<(String, Option<u64>)> = li
        .events()
        .into_iter()
        .map(|event| (event.kind, event.body["seq"].as_u64()))
        .filter(|(_, seq)| seq.is_some() && *seq <= last)
        .collect();
    let kinds: Vec<&str> = entries.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["joined", "joined", "said", "left", "joined"]);
    assert!(entries.iter().map(|(_, seq)| *seq).eq((1..=5).map(Some)), "{entries:?}");
}

#[test]
fn busy_says_when_to_try_again() {
    let server = Server::with().places(1).start();
    let mut first = Peer::caller(server.address(), "First");
    first.expect_place();
    let mut ada = Client::call(server.address()).json().start();
    let busy = ada.expect("busy");
    assert_eq!(busy.body["why"], "full");
    assert!(busy.body["retry_after_s"].as_u64().is_some_and(|after| after > 0), "{busy:?}");
    assert!(busy.body.get("wait_s").is_some(), "{busy:?}");
    let ended = ada.wait();
    assert_eq!(ended.code, 75);
    assert!(ended.stderr.contains("helpline: the line is busy"), "{}", ended.stderr);
}

#[test]
fn closed_says_why_while_the_server_stops() {
    let server = Server::start();
    let (_caller, _operator) = Peer::pair(server.address());
    let mut waiting = caller(&server);
    waiting.expect("place");
    server.signal(rustix::process::Signal::TERM);
    server.wait_for_stderr("the line is closing");
    let mut ada = Client::call(server.address()).json().start();
    let closed = ada.expect("closed");
    assert_eq!(closed.body["why"], "stopping");
    assert!(closed.body.get("retry_after_s").is_some(), "{closed:?}");
    assert_eq!(ada.wait().code, 75);
    assert!(!waiting.events().iter().any(|event| event.kind == "ended"), "who waits is kept");
    assert!(waiting.is_running());
}

#[test]
fn offer_and_withdrawn_tell_an_operator_who_waits() {
    let server = Server::start();
    let mut wei = desk(&server, "Wei", &[]);
    let mut ada = caller(&server);
    let call = ada.expect("place").body["call"].clone();
    let offer = wei.expect("offer");
    assert_eq!(offer.body, json!({"call": call, "name": "Ada", "waiting": 1}));
    ada.type_line("bye");
    assert_eq!(ada.wait().code, 130);
    let withdrawn = wei.expect("withdrawn");
    assert_eq!(withdrawn.body, json!({"call": call, "name": "Ada", "waiting": 0}));
}

#[test]
fn answer_takes_the_offered_caller_and_no_other() {
    let server = Server::start();
    let mut wei = desk(&server, "Wei", &[]);
    let mut ada = caller(&server);
    let call = wei.expect("offer").body["call"].clone();
    let other = "00".repeat(16);
    wei.command(&json!({"kind": "answer", "ref": 3, "body": {"call": other}}));
    error(&mut wei, 3, "not_offered");
    wei.command(&json!({"kind": "answer", "ref": 4}));
    error(&mut wei, 4, "bad_command");
    wei.command(&json!({"kind": "answer", "ref": 5, "body": {"call": call}}));
    let connected = wei.expect("connected");
    assert_eq!(connected.body["call"], call);
    ada.expect("connected");
}

#[test]
fn next_takes_the_oldest_if_there_is_one() {
    let server = Server::start();
    let mut wei = desk(&server, "Wei", &[]);
    wei.command(&json!({"kind": "next", "ref": 6}));
    error(&mut wei, 6, "nobody_waiting");
    let mut ada = caller(&server);
    ada.expect("place");
    let mut bo = Peer::caller(server.address(), "Bo");
    bo.expect_place();
    wei.command(&json!({"kind": "next", "ref": 7}));
    assert_eq!(wei.expect("connected").body["peer"], "Ada");
    wei.command(&json!({"kind": "next", "ref": 8}));
    error(&mut wei, 8, "occupied");
}

#[test]
fn pause_and_ready_begin_and_end_a_break() {
    let server = Server::start();
    let mut wei = desk(&server, "Wei", &["--auto"]);
    wei.command(&json!({"kind": "pause", "ref": 1}));
    // The answer to what is asked next: by then the break has begun.
    wei.command(&json!({"kind": "next", "ref": 2}));
    error(&mut wei, 2, "nobody_waiting");
    let mut ada = caller(&server);
    ada.expect("place");
    wei.expect_within(PATIENCE, "board", |board| board.body["waiting"] == 1);
    assert!(!ada.events().iter().any(|event| event.kind == "connected"), "it is a break");
    wei.command(&json!({"kind": "ready", "ref": 3}));
    assert_eq!(wei.expect("connected").body["peer"], "Ada");
    ada.expect("connected");
}

#[test]
fn board_shows_who_waits_and_who_talks() {
    let server = Server::start();
    let mut wei = desk(&server, "Wei", &[]);
    let mut ada = Peer::caller(server.address(), "Ada");
    ada.expect_place();
    let mut bo = Peer::caller(server.address(), "Bo");
    bo.expect_place();
    let board = wei.expect_within(PATIENCE, "board", |board| board.body["waiting"] == 2);
    let names = |list: &Value| -> Vec<String> {
        let names = list.as_array().unwrap().iter();
        names.map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(&board.body["first"]), ["Ada", "Bo"]);
    assert_eq!(board.body["talking"], json!([]));
    wei.command(&json!({"kind": "next"}));
    let board = wei.expect_within(PATIENCE, "board", |board| board.body["waiting"] == 1);
    assert_eq!(names(&board.body["first"]), ["Bo"]);
    assert_eq!(board.body["talking"].as_array().map(Vec::len), Some(1), "{board:?}");
}

#[test]
fn a_bad_command_is_an_error_and_the_program_goes_on() {
    let server = Server::start();
    let (mut ada, mut operator, call) = caller_and_peer(&server);
    for (line, reference) in [
        ("{", 0),
        ("{}", 0),
        (r#"{"kind":7}"#, 0),
        (r#"{"kind":"dance","ref":11}"#, 11),
        (r#"{"kind":"say","ref":12}"#, 12),
        (r#"{"kind":"say","ref":13,"body":{"text":""}}"#, 13),
        (r#"{"kind":"say","ref":14,"text":"misplaced"}"#, 14),
        (r#"{"kind":"say","ref":-1,"body":{"text":"x"}}"#, 0),
        (r#"{"kind":"hang_up","ref":15,"body":{"call":"nonsense"}}"#, 15),
        (r#"{"kind":"next","ref":16}"#, 16),
        (r#"{"kind":"answer","ref":17}"#, 17),
        (r#"{"kind":"ready","ref":18}"#, 18),
        (r#"{"kind":"pause","ref":19}"#, 19),
    ] {
        ada.type_line(line);
        error(&mut ada, reference, "bad_command");
    }
    let other = "00".repeat(16);
    for kind in ["hang_up", "typing"] {
        ada.command(&json!({"kind": kind, "ref": 20, "body": {"call": other}}));
        error(&mut ada, 20, "no_such_call");
    }
    ada.command(&json!({"kind": "say", "ref": 21, "body": {"call": other, "text": "lost?"}}));
    error(&mut ada, 21, "no_such_call");
    let not_said = ada.expect("link.not_said");
    let wanted = json!({"call": other, "text": "lost?", "why": "no_such_call"});
    assert_eq!((not_said.reference, not_said.body), (21, wanted));
    ada.command(&json!({"kind": "say", "ref": 22, "body": {"call": call, "text": "still here"}}));
    assert_eq!(operator.expect_said().text.as_str(), "still here");
    assert_eq!(operator.heard().len(), 1, "nothing of the rest was said");
}

#[test]
fn n02_a_text_that_is_too_long_is_an_error() {
    let server = Server::start();
    let (mut ada, mut operator, _) = caller_and_peer(&server);
    let most = "\u{1}".repeat(16 * 1024);
    ada.command(&json!({"kind": "say", "ref": 1, "body": {"text": format!("{most}x")}}));
    let error = error(&mut ada, 1, "too_long");
    assert_eq!(error.body["detail"], "a text has at most 16384 bytes; this one has 16385");
    ada.command(&json!({"kind": "say", "ref": 2, "body": {"text": most}}));
    let said = ada.expect("said");
    assert_eq!((said.reference, said.body["text"].as_str()), (2, Some(most.as_str())));
    assert_eq!(operator.expect_said().text.as_str(), most);
    // Longer than any command: even its reference can't be known.
    ada.type_line(&format!("{{\"kind\":\"say\",\"ref\":3,\"x\":\"{}\"}}", "x".repeat(128 * 1024)));
    self::error(&mut ada, 0, "too_long");
    ada.type_line("still here");
    assert_eq!(operator.expect_said().text.as_str(), "still here");
}

#[test]
fn which_call_is_asked_where_there_is_not_exactly_one() {
    let server = Server::start();
    let mut wei = desk(&server, "Wei", &[]);
    wei.type_line("hello?");
    error(&mut wei, 0, "which_call");
    let not_said = wei.expect("link.not_said");
    assert_eq!(not_said.body, json!({"call": null, "text": "hello?", "why": "which_call"}));
    wei.command(&json!({"kind": "say", "ref": 1, "body": {"text": "hello?"}}));
    error(&mut wei, 1, "which_call");
    assert_eq!(wei.expect("link.not_said").reference, 1);
    for (reference, kind) in [(2, "hang_up"), (3, "typing")] {
        wei.command(&json!({"kind": kind, "ref": reference}));
        error(&mut wei, reference, "which_call");
    }
    wei.type_line("bye");
    error(&mut wei, 0, "which_call");
    assert!(wei.is_running());
}

#[test]
fn what_is_said_after_the_end_is_not_said() {
    let server = Server::start();
    let (mut ada, operator, call) = caller_and_peer(&server);
    let mut operator = operator;
    ada.command(&json!({"kind": "hang_up"}));
    ada.command(&json!({"kind": "say", "ref": 9, "body": {"text": "one more thing"}}));
    operator.expect_ended();
    let not_said = ada.expect("link.not_said");
    assert_eq!(not_said.reference, 9);
    assert_eq!((&not_said.body["call"], &not_said.body["text"]), (&call, &json!("one more thing")));
    assert_eq!(not_said.body["why"], "call_ended");
    assert_eq!(ada.wait().code, 1, "not everything was said");
    assert!(!operator.heard().contains(&"one more thing"));
}

#[test]
fn link_lost_is_the_end_where_nobody_knows_of_the_call() {
    let mut server = Server::start();
    let (mut ada, mut wei, call) = pair(&server);
    server.crash();
    for client in [&mut ada, &mut wei] {
        assert_eq!(client.expect("link.reconnecting").body, json!({"unsaid": 0, "attempt": 1}));
    }
    ada.type_line("too late");
    // What answers there now has never heard of them.
    let _server = server.forgetting().start();
    let not_said = ada.expect("link.not_said");
    assert_eq!((&not_said.body["call"], &not_said.body["text"]), (&call, &json!("too late")));
    for client in [&mut ada, &mut wei] {
        let lost = client.expect("link.lost");
        assert!(lost.body["unsaid"].is_u64(), "{lost:?}");
        assert!(lost.body["attempt"].as_u64().is_some_and(|attempt| attempt > 0), "{lost:?}");
        assert_eq!(client.wait().code, 69);
    }
}

#[test]
fn away_and_back_tell_of_the_other_sides_connection() {
    let server = Server::start();
    let (mut ada, mut operator, call) = caller_and_peer(&server);
    operator.vanish();
    let wanted = json!({"call": call, "from": "operator"});
    assert_eq!(ada.expect("away").body, wanted);
    operator.come_back();
    assert_eq!(ada.expect("back").body, wanted);
}

#[test]
fn n26_the_end_of_the_commands_leaves_a_call_open() {
    let server = Server::start();
    let (mut ada, mut operator, _) = caller_and_peer(&server);
    ada.close_stdin();
    operator.say("are you there?");
    assert_eq!(ada.expect("said").body["text"], "are you there?");
    operator.hang_up();
    ada.expect("ended");
    assert_eq!(ada.wait().code, 0);
}

#[test]
fn an_earlier_operators_words_are_shown_to_the_next_one() {
    let server = Server::start();
    let (mut ada, mut wei, _) = caller_and_peer(&server);
    wei.say("from Wei");
    ada.expect("said");
    wei.send(SignOff {});
    ada.expect("left");
    let mut li = desk(&server, "Li", &["--auto"]);
    let said = li.expect("said").body;
    assert_eq!((&said["name"], &said["text"]), (&json!("Wei"), &json!("from Wei")));
    // The count of what the operator's side says goes on.
    li.command(&json!({"kind": "say", "ref": 1, "body": {"text": "from Li"}}));
    let said = ada.expect("said").body;
    assert_eq!((&said["name"], &said["nonce"]), (&json!("Li"), &json!(2)));
}
