//! `helpline-server calls`: what is kept, to look at, while the server runs and afterwards.

use helpline_tests::{Peer, Server};
use serde_json::json;

/// Two calls that are over and one that waits: the ids of all three, and who waits.
fn three_calls(server: &Server) -> ([String; 3], Peer) {
    let (mut ada, mut wei) = Peer::pair(server.address());
    ada.say("hello\nis anybody \u{1b}[31mthere\u{1b}[0m?");
    wei.expect_said();
    wei.say("yes");
    ada.expect_text("yes");
    ada.hang_up();
    for peer in [&mut ada, &mut wei] {
        peer.expect_ended();
        peer.end_seen();
    }
    wei.send(helpline_proto::message::SignOff {});
    wei.expect_over();
    let mut bea = Peer::caller(server.address(), "Bea \"B\"");
    bea.expect_place();
    bea.hang_up();
    bea.expect_ended();
    bea.end_seen();
    bea.expect_over();
    let mut cleo = Peer::caller(server.address(), "Cleo");
    let waiting = cleo.expect_place().call;
    ([ada.call(), bea.call(), waiting].map(|call| call.to_hex()), cleo)
}

fn first(digits: &str, count: usize) -> &str {
    digits.get(..count).unwrap()
}

/// Hides what differs from run to run.
fn settled(text: &str, calls: &[String; 3]) -> String {
    let mut text = text.to_owned();
    for (call, name) in calls.iter().zip(["CALL_OF_ADA_", "CALL_OF_BEA_", "CALL_OF_CLEO"]) {
        text = text.replace(call.as_str(), name).replace(first(call, 12), name);
    }
    text
}

#[test]
fn calls_are_listed_and_shown_while_the_server_runs_and_afterwards() {
    let mut server = Server::start();
    let (calls, _waiting) = three_calls(&server);
    let look = |server: &Server, args: &[&str]| {
        let seen = server.also(args);
        assert_eq!((seen.code, seen.stderr.as_str()), (0, ""), "{args:?}");
        settled(&seen.stdout, &calls)
    };
    insta::with_settings!({filters => vec![(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "DATE-AND-TIME-IN-UTC"), (r#""(\w*at)":\d{13}"#, r#""$1":MILLIS"#)]}, {
        insta::assert_snapshot!("list_running", look(&server, &["calls", "list"]));
        insta::assert_snapshot!("list_running_json", look(&server, &["calls", "list", "--json"]));
        insta::assert_snapshot!("show_running", look(&server, &["calls", "show", &calls[0]]));
        insta::assert_snapshot!("show_running_json", look(&server, &["calls", "show", &calls[0], "--json"]));
        insta::assert_snapshot!("show_abandoned", look(&server, &["calls", "show", &calls[1]]));
        insta::assert_snapshot!("show_waiting", look(&server, &["calls", "show", &calls[2]]));
    });
    let shown_running = look(&server, &["calls", "show", &calls[0]]);
    // A few digits are enough, in either case.
    assert_eq!(look(&server, &["calls", "show", first(&calls[0], 12)]), shown_running);
    assert_eq!(look(&server, &["calls", "show", &calls[0].to_uppercase()]), shown_running);

    assert_eq!(server.stop().code, 0);
    insta::with_settings!({filters => vec![(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "DATE-AND-TIME-IN-UTC")]}, {
        insta::assert_snapshot!("list_stopped", look(&server, &["calls", "list"]));
        insta::assert_snapshot!("show_stopped", look(&server, &["calls", "show", &calls[2]]));
    });
    assert_eq!(look(&server, &["calls", "show", &calls[0]]), shown_running);
    // Not one escape sequence of a caller's reaches the terminal of who looks.
    let raw = server.also(&["calls", "show", &calls[0]]).stdout
        + &server.also(&["calls", "show", &calls[0], "--json"]).stdout;
    assert!(!raw.contains('\u{1b}'), "{raw:?}");
}

#[test]
fn a_call_that_is_not_there_is_named_clearly() {
    let server = Server::start();
    let _waiting = three_calls(&server);
    let missing = server.also(&["calls", "show", "0123456789abcdef0123456789abcdef"]);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stderr.contains("no call begins with"), "{missing:?}");
    // Of 17 calls two begin with the same digit.
    let mut calls: Vec<String> = Vec::new();
    for _ in 0..17 {
        let mut caller = Peer::caller(server.address(), "Ada");
        let call = caller.expect_place().call.to_hex();
        caller.hang_up();
        caller.expect_ended();
        caller.end_seen();
        caller.expect_over();
        calls.push(first(&call, 1).to_owned());
    }
    let twice = calls.iter().find(|digit| calls.iter().filter(|other| other == digit).count() > 1);
    let several = server.also(&["calls", "show", twice.unwrap()]);
    assert_eq!(several.code, 1, "{several:?}");
    assert!(several.stderr.contains("several calls begin with"), "{several:?}");
    assert_eq!(server.calls()[1]["name"], json!("Bea \"B\""));
}

#[test]
fn who_reads_no_further_ends_the_list_without_a_complaint() {
    let server = Server::start();
    let _waiting = three_calls(&server);
    let mut command = std::process::Command::new("sh");
    let data = server.data();
    command.args([
        "-c",
        r#""$1" calls list --data "$2" | head -n 1; "$1" calls list --data "$2" | true"#,
        "sh",
    ]);
    command.arg(helpline_tests::helpline_server()).arg(data);
    let finished = helpline_tests::Process::start(command, server.home()).wait();
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""));
    assert!(finished.stdout.starts_with("CALL "), "{finished:?}");
}
