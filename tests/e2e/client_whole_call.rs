//! A whole call between two programs, as scripts and bots see it: nothing in it that is not documented.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};

use helpline_proto::limits;
use helpline_tests::{Client, Event, Peer, Server, have};
use serde_json::{Value, json};

/// A program at a desk, in a call with a wire caller.
fn desk_and_peer(server: &Server, args: &[&str]) -> (Client, Peer) {
    let desk = Client::desk(server.address()).name("Wei").args(args.iter().copied()).start();
    desk.wait_for_stderr("signed on");
    let mut caller = Peer::caller(server.address(), "Ada");
    caller.expect_connected();
    (desk, caller)
}

#[test]
fn n08_an_empty_line_of_an_operator_is_harmless() {
    let server = Server::start();
    let (mut desk, mut caller) = desk_and_peer(&server, &["--auto"]);
    desk.write(b"\n\n\n");
    desk.type_line("still here");
    caller.expect_text("still here");
    caller.say("good");
    desk.wait_for_line("Ada: good");
    caller.expect_text("good");
    assert_eq!(caller.heard(), ["still here", "good"]);
}

#[test]
fn n28_the_client_reaches_both_families() {
    if !have(crate::listening::ipv6()) {
        return;
    }
    // What `localhost` stands for is the machine's affair: the port is the same for both.
    let four = Server::start();
    let port = four.address().port();
    let server = four.again().listen(&format!("[::1]:{port}"));
    drop(four);
    let server = server.start();
    for address in [
        format!("[::1]:{port}"),
        format!("localhost:{port}"),
        format!("helpline://[::1]:{port}/main"),
    ] {
        let mut operator = Peer::operator(server.address(), "Wei");
        let mut client = Client::call(&address).args(["--bye"]).start();
        client.type_line("hello");
        client.close_stdin();
        operator.expect_text("hello");
        operator.expect_ended();
        assert_eq!(client.wait().code, 0, "{address}");
    }
}

/// The fields that readers may rely on, kind by kind; more may be there.
fn documented(kind: &str) -> &'static [&'static str] {
    match kind {
        "welcome" => &["line", "name", "greeting"],
        "place" => &["call", "position", "waiting", "wait_s"],
        "connected" => &["call", "peer"],
        "said" => &["call", "seq", "from", "name", "at", "text", "nonce"],
        "joined" | "left" => &["call", "seq", "at", "from", "name"],
        "typing" => &["call", "from"],
        "ended" => &["call", "seq", "by", "why"],
        "busy" | "closed" => &["why", "retry_after_s", "wait_s"],
        "offer" | "withdrawn" => &["call", "name", "waiting"],
        "board" => &["waiting", "first", "talking"],
        "error" => &["code", "detail"],
        "away" | "back" => &["call", "from"],
        "link.lost" | "link.reconnecting" | "link.resumed" => &["unsaid", "attempt"],
        "link.not_said" => &["call", "text", "why"],
        _ => panic!("{kind} is not documented"),
    }
}

/// Everything printed is documented, and has what is documented. Returns the kinds.
fn check(client: &Client) -> BTreeSet<String> {
    let events = client.events();
    for event in &events {
        for field in documented(&event.kind) {
            assert!(event.body.get(field).is_some(), "no {field}: {event:?}");
        }
    }
    events.into_iter().map(|event| event.kind).collect()
}

/// A caller and an operator by hand, both programs.
fn two_programs(server: &Server) -> (Client, Client) {
    let mut desk = Client::desk(server.address()).name("Wei").json().start();
    desk.expect("welcome");
    let call = Client::call(server.address()).name("Ada").json().start();
    (call, desk)
}

fn is_said(event: &Event, text: &str) -> bool {
    event.body["text"] == text
}

#[test]
fn every_event_and_every_command_of_a_call() {
    let server = Server::with().greeting("Hello.").start();
    let (mut call, mut desk) = two_programs(&server);
    let welcome = call.expect("welcome");
    assert_eq!(welcome.body, json!({"line": "main", "name": "Ada", "greeting": "Hello."}));
    let place = call.expect("place");
    assert_eq!((&place.body["position"], &place.body["waiting"]), (&json!(1), &json!(1)));
    assert_eq!(place.body["wait_s"], Value::Null);
    let id = place.body["call"].as_str().unwrap().to_owned();
    assert_eq!(call.expect("joined").body["from"], "caller");
    let offer = desk.expect("offer");
    assert_eq!(offer.body, json!({"call": id, "name": "Ada", "waiting": 1}));
    let board =
        desk.expect_within(Duration::from_secs(20), "board", |board| board.body["waiting"] == 1);
    assert_eq!(board.body["first"][0]["name"], "Ada");

    // What can't be done yet.
    desk.command(&json!({"kind": "say", "ref": 1, "body": {"text": "too early"}}));
    let refused =
        desk.expect_within(Duration::from_secs(20), "link.not_said", |event| event.reference == 1);
    assert_eq!(
        (&refused.body["text"], &refused.body["why"]),
        (&json!("too early"), &json!("which_call"))
    );
    desk.command(&json!({"kind": "hang_up", "ref": 2}));
    assert_eq!(desk.expect("error").body["code"], "which_call");
    desk.command(&json!({"kind": "answer", "ref": 3, "body": {"call": "0".repeat(32)}}));
    let error = desk.expect("error");
    assert_eq!((error.reference, &error.body["code"]), (3, &json!("not_offered")));

    desk.command(&json!({"kind": "answer", "ref": 4, "body": {"call": id}}));
    let connected = desk.expect("connected");
    assert_eq!((connected.reference, &connected.body["peer"]), (4, &json!("Ada")));
    assert_eq!(call.expect("connected").body["peer"], "Wei");
    let board =
        desk.expect_within(Duration::from_secs(20), "board", |board| board.body["waiting"] == 0);
    assert_eq!(board.body["talking"][0]["operator"], "Wei");

    call.command(&json!({"kind": "typing"}));
    assert_eq!(desk.expect("typing").body, json!({"call": id, "from": "caller"}));
    desk.command(&json!({"kind": "typing", "body": {"call": id}}));
    assert_eq!(call.expect("typing").body, json!({"call": id, "from": "operator"}));

    call.command(&json!({"kind": "say", "ref": 77, "body": {"text": "bye"}}));
    let own = call.expect_within(Duration::from_secs(20), "said", |event| is_said(event, "bye"));
    assert_eq!(
        (own.reference, &own.body["from"], &own.body["nonce"]),
        (77, &json!("caller"), &json!(1))
    );
    let heard = desk.expect_within(Duration::from_secs(20), "said", |event| is_said(event, "bye"));
    assert_eq!((heard.reference, &heard.body), (0, &own.body), "one entry, the same for both");
    call.type_line("plain text");
    desk.expect_within(Duration::from_secs(20), "said", |event| is_said(event, "plain text"));
    desk.command(
        &json!({"kind": "say", "ref": 5, "body": {"call": id, "text": "\u{1b}[2J\u{9b}\u{202e}"}}),
    );
    call.expect_within(Duration::from_secs(20), "said", |event| {
        is_said(event, "\u{1b}[2J\u{9b}\u{202e}")
    });

    // What can't be done any more, or never could.
    desk.command(&json!({"kind": "next", "ref": 6}));
    let error = desk.expect("error");
    assert_eq!((error.reference, &error.body["code"]), (6, &json!("occupied")));
    for (reference, bad) in [
        r#"{"kind":"say""#,
        r#"{"kind":"nonsense","ref":2}"#,
        r#"{"kind":"next","ref":3}"#,
        r#"{"kind":"say","ref":4,"body":{}}"#,
        r#"{"kind":"say","ref":5,"body":{"text":""}}"#,
        r#"{"kind":"hang_up","ref":6,"body":{"call":"nobody's"}}"#,
        r#"{"kind":"say","ref":7,"body":{"text":"x","colour":"red"}}"#,
        r#"{"ref":8}"#,
    ]
    .iter()
    .enumerate()
    {
        call.type_line(bad);
        let error = call.expect("error");
        assert_eq!(error.body["code"], "bad_command", "{bad}");
        if reference > 0 {
            assert_eq!(error.reference, u64::try_from(reference).unwrap() + 1, "{bad}");
        }
    }
    let elsewhere =
        json!({"kind": "say", "ref": 9, "body": {"call": "0".repeat(32), "text": "elsewhere"}});
    call.command(&elsewhere);
    let refused = call.expect("link.not_said");
    assert_eq!((refused.reference, &refused.body["why"]), (9, &json!("no_such_call")));
    let long = json!({"kind": "say", "ref": 10, "body": {"text": "x".repeat(limits::TEXT + 1)}});
    call.command(&long);
    let error = call.expect("error");
    assert_eq!((error.reference, &error.body["code"]), (10, &json!("too_long")));

    call.type_line("Bye ");
    for client in [&mut call, &mut desk] {
        let ended = client.expect("ended");
        assert_eq!((&ended.body["by"], &ended.body["why"]), (&json!("caller"), &json!("bye")));
    }
    let finished = call.wait();
    assert_eq!(finished.code, 1, "a line was not said: {}", finished.stderr);

    desk.command(&json!({"kind": "next", "ref": 8}));
    let error = desk.expect_within(Duration::from_secs(20), "error", |error| error.reference == 8);
    assert_eq!(error.body["code"], "nobody_waiting");
    desk.close_stdin();
    assert_eq!(desk.wait().code, 0);

    let kinds = check(&call);
    let wanted = [
        "connected",
        "ended",
        "error",
        "joined",
        "link.not_said",
        "place",
        "said",
        "typing",
        "welcome",
    ];
    assert!(kinds.iter().eq(wanted), "{kinds:?}");
    let kinds = check(&desk);
    let wanted = [
        "board",
        "connected",
        "ended",
        "error",
        "joined",
        "link.not_said",
        "offer",
        "said",
        "typing",
        "welcome",
    ];
    assert!(kinds.iter().eq(wanted.iter()), "{kinds:?}");
    for line in call.stdout().iter().chain(&desk.stdout()) {
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
    }
    // Both have seen the same call.
    let entries = |client: &Client| -> BTreeMap<u64, Value> {
        let numbered = client
            .events()
            .into_iter()
            .filter_map(|event| Some((event.body["seq"].as_u64()?, event.body)));
        numbered.collect()
    };
    assert_eq!(entries(&call), entries(&desk));
}

#[test]
fn n13_a_killed_server_is_told_and_what_was_not_said_is_said_to_the_next_one() {
    let mut server = Server::start();
    let (mut call, mut desk) = two_programs(&server);
    desk.expect("offer");
    desk.command(&json!({"kind": "next"}));
    call.expect("connected");
    desk.expect("connected");
    // It hears nothing any more, then it is gone.
    server.freeze();
    call.command(&json!({"kind": "say", "ref": 3, "body": {"text": "lost words"}}));
    thread::sleep(Duration::from_millis(200));
    server.crash();
    assert_eq!(call.expect("link.reconnecting").body, json!({"unsaid": 1, "attempt": 1}));
    assert_eq!(desk.expect("link.reconnecting").body, json!({"unsaid": 0, "attempt": 1}));
    let _server = server.again().start();
    for (client, unsaid) in [(&mut call, 1), (&mut desk, 0)] {
        assert_eq!(client.expect("link.resumed").body["unsaid"], unsaid);
    }
    let said = call.expect("said");
    assert_eq!((said.reference, &said.body["text"]), (3, &json!("lost words")));
    assert_eq!(desk.expect("said").body, said.body);
    call.type_line("bye");
    assert_eq!(call.wait().code, 0);
    assert_eq!(desk.expect("ended").body["why"], "bye");
    for client in [&call, &desk] {
        let kinds = check(client);
        assert!(!kinds.contains("link.not_said") && !kinds.contains("link.lost"), "{kinds:?}");
        let numbers: Vec<u64> =
            client.events().iter().filter_map(|event| event.body["seq"].as_u64()).collect();
        assert!(numbers.iter().copied().eq(1..=5), "each once, in order: {numbers:?}");
    }
}
