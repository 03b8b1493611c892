//! `helpline` between pipes: what scripts may rely on.

use helpline_proto::{ids::Side, message::Message};
use helpline_tests::{Client, ClientSetup, Peer, Server, wait_until};

/// A caller's program between pipes, in a call with an operator on a wire.
fn in_a_call(server: &Server, change: impl Fn(ClientSetup) -> ClientSetup) -> (Client, Peer) {
    let mut operator = Peer::operator(server.address(), "Wei");
    let caller = change(Client::call(server.address()).name("Ada")).start();
    operator.expect_connected();
    caller.wait_for_stderr("-- on the line with Wei");
    (caller, operator)
}

/// An operator's program between pipes, that takes one caller after another.
fn auto_desk(server: &Server) -> Client {
    let desk = Client::desk(server.address()).name("Wei").args(["--auto"]).start();
    desk.wait_for_stderr("-- signed on to line main as Wei");
    desk
}

fn said_by(side: Side) -> impl FnMut(&Message) -> Option<String> {
    move |message| match message {
        Message::Said(said) if said.from == side => Some(said.text.as_str().to_owned()),
        _ => None,
    }
}

#[test]
fn standard_output_has_what_the_other_side_says_and_nothing_else() {
    let server = Server::with().greeting("Welcome.\nTake your time.").start();
    let (mut ada, mut operator) = in_a_call(&server, |call| call);
    ada.type_line("hello");
    assert_eq!(operator.expect_said().text.as_str(), "hello");
    operator.say("hi");
    operator.say("three\nlines\n\nand one that is empty");
    operator.say("-- the call has ended (Wei said bye)");
    operator.say("a\x1b[2Jb\u{9b}2J\tc");
    operator.hang_up();
    let ended = ada.wait();
    assert_eq!(ended.code, 0);
    assert_eq!(
        ended.stdout,
        "Wei: hi\n\
         Wei: three\n  lines\n  \n  and one that is empty\n\
         Wei: -- the call has ended (Wei said bye)\n\
         Wei: a^[[2JbM-^[2J    c\n"
    );
    let address = server.address();
    let key = ended.stderr.lines().find_map(|line| Some(line.split_once("key is ")?.1));
    assert_eq!(
        ended.stderr,
        format!(
            "-- connecting to {address}\n\
             -- first contact with {address}: its key is {}\n-- Welcome.\n-- Take your time.\n\
             -- on the line with Wei\n-- the call has ended (Wei said bye)\n",
            key.expect("first contact is told")
        )
    );
}

#[test]
fn n07_an_empty_line_between_pipes_is_ignored() {
    let server = Server::start();
    let (mut ada, mut operator) = in_a_call(&server, |call| call);
    ada.write(b"\n\r\n\nhello\n\n");
    ada.write(b"bye\n");
    operator.expect_ended();
    assert_eq!(operator.heard(), ["hello", "bye"]);
    assert_eq!(ada.wait().code, 0);
}

#[test]
fn n14_bye_alone_on_a_line_hangs_up_between_pipes_too() {
    let server = Server::start();
    for bye in ["bye\n", "bye \n", " bye\n", "Bye\n", "BYE\n", "bye\r\n", "bye"] {
        let (mut ada, mut operator) = in_a_call(&server, |call| call);
        ada.write(b"goodbye\nbye!\nbye for now\n/say bye\n");
        ada.write(bye.as_bytes());
        ada.close_stdin();
        operator.expect_ended();
        let heard = ["goodbye", "bye!", "bye for now", "/say bye", bye.trim()];
        assert_eq!(operator.heard(), heard, "{bye:?}");
        assert_eq!(ada.wait().code, 0, "{bye:?}");
    }
}

#[test]
fn lines_behind_bye_are_not_read() {
    let server = Server::start();
    let (mut ada, mut operator) = in_a_call(&server, |call| call);
    ada.write(b"hello\nbye\nthe next program's line\n");
    let ended = ada.wait();
    operator.expect_ended();
    assert_eq!(operator.heard(), ["hello", "bye"]);
    assert_eq!((ended.code, ended.stderr.contains("not said")), (0, false), "{}", ended.stderr);
}

#[test]
fn with_no_bye_the_word_is_text() {
    let server = Server::start();
    let (mut ada, mut operator) = in_a_call(&server, |call| call.args(["--no-bye"]));
    ada.write(b"bye\nBYE\nstill here\n");
    for text in ["bye", "BYE", "still here"] {
        assert_eq!(operator.expect_said().text.as_str(), text);
    }
    operator.hang_up();
    assert_eq!(ada.wait().code, 0);
}

#[test]
fn n26_the_end_of_the_input_leaves_the_call_open() {
    let server = Server::start();
    let (mut ada, mut operator) = in_a_call(&server, |call| call);
    ada.write(b"is anybody there?");
    ada.close_stdin();
    assert_eq!(operator.expect_said().text.as_str(), "is anybody there?", "the last line counts");
    operator.say("yes");
    ada.wait_for_line("Wei: yes");
    assert!(ada.is_running());
    operator.say("take care");
    operator.hang_up();
    let ended = ada.wait();
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "Wei: yes\nWei: take care\n"));
}

#[test]
fn with_bye_it_hangs_up_once_somebody_has_answered_and_all_is_said() {
    let server = Server::start();
    let mut ada = Client::call(server.address()).name("Ada").args(["--bye"]).start();
    ada.write(b"one\ntwo\nthree\n");
    ada.close_stdin();
    ada.wait_for_stderr("-- position 1 of 1");
    // Everything is said, and it still waits for somebody to hear it.
    wait_until("three lines are kept", || {
        let calls = server.calls();
        let call = calls.first()?["call"].as_str()?.to_owned();
        let said = server.transcript(&call);
        (said.iter().filter(|entry| entry["kind"] == "said").count() == 3).then_some(())
    });
    assert!(ada.is_running());
    let mut operator = Peer::operator(server.address(), "Wei");
    operator.expect_ended();
    assert_eq!(operator.heard(), ["one", "two", "three"]);
    assert_eq!(ada.wait().code, 0);
}

#[test]
fn many_lines_at_once_are_all_said_in_order() {
    let server = Server::with().says(0).start();
    let (mut ada, mut operator) = in_a_call(&server, |call| call.args(["--bye"]));
    let lines: Vec<String> = (0..500).map(|n| format!("line {n}")).collect();
    ada.write(lines.join("\n").as_bytes());
    ada.close_stdin();
    operator.expect_ended();
    assert_eq!(operator.heard(), lines);
    assert_eq!(ada.wait().code, 0);
}

#[test]
fn n02_a_line_that_is_too_long_is_named_and_shows_in_the_exit_code() {
    let server = Server::start();
    let (mut ada, mut operator) = in_a_call(&server, |call| call);
    let most = "é".repeat(8 * 1024);
    ada.write(format!("{most}x\n{most}\nbye\n").as_bytes());
    operator.expect_ended();
    assert_eq!(operator.heard(), [most.as_str(), "bye"]);
    let ended = ada.wait();
    assert_eq!(ended.code, 1, "a line was not said");
    let refused = "-- not said: a text has at most 16384 bytes; this line has more\n";
    assert!(ended.stderr.contains(refused), "{}", ended.stderr);
}

#[test]
fn n33_bytes_that_are_not_utf_8_become_replacement_characters() {
    let server = Server::start();
    for language in ["C.UTF-8", "C", "POSIX"] {
        let change = |call: ClientSetup| call.env("LC_ALL", language).env("LANG", language);
        let (mut ada, mut operator) = in_a_call(&server, change);
        ada.write(b"caf\xe9, na\xefve\n\xff\xfe\x9b2J\nnul \0 here\nbye\n");
        operator.expect_ended();
        let heard =
            ["caf\u{fffd}, na\u{fffd}ve", "\u{fffd}\u{fffd}\u{fffd}2J", "nul \0 here", "bye"];
        assert_eq!(operator.heard(), heard, "{language}");
        assert_eq!(ada.wait().code, 0);
    }
}

#[test]
fn a_line_that_comes_too_late_was_not_said() {
    let server = Server::start();
    let (mut ada, mut operator) = in_a_call(&server, |call| call);
    // A program that goes on writing, whatever happens.
    operator.hang_up();
    operator.expect_ended();
    for _ in 0..1000 {
        ada.write(b"too late\n");
    }
    let ended = ada.wait();
    let named = ended.stderr.contains("-- not said: too late");
    assert_eq!(ended.code, i32::from(named), "{}", ended.stderr);
}

#[test]
fn a_piped_desk_talks_with_one_caller_after_another() {
    let server = Server::start();
    let mut wei = auto_desk(&server);
    // Lines are for whoever is on the line: these wait for callers, up to and with a bye for each.
    wei.write(b"hello first\nbye\nhello second\nbye\nhello third\n");
    for (n, hello) in ["hello first", "hello second"].into_iter().enumerate() {
        let mut caller = Peer::caller(server.address(), &format!("Caller {n}"));
        caller.expect_connected();
        caller.say(&format!("I am {n}"));
        caller.expect_ended();
        let heard = caller.heard();
        let heard: Vec<_> = heard.into_iter().filter(|text| !text.starts_with("I am")).collect();
        assert_eq!(heard, [hello, "bye"]);
        caller.end_seen();
    }
    let mut third = Peer::caller(server.address(), "Third");
    assert_eq!(third.expect("a hello", said_by(Side::Operator)), "hello third");
    third.say("thank you");
    wei.wait_for_line("Third: thank you");
    assert!(
        !wei.stdout().iter().any(|line| line.contains("hello")),
        "its own lines are not echoed"
    );
}

#[test]
fn n26_the_end_of_the_input_of_a_desk_lets_its_call_end_and_takes_no_more() {
    let server = Server::start();
    let mut wei = auto_desk(&server);
    let mut ada = Peer::caller(server.address(), "Ada");
    ada.expect_connected();
    wei.write(b"hello\n");
    wei.close_stdin();
    ada.expect("his hello", said_by(Side::Operator));
    let mut bo = Peer::caller(server.address(), "Bo");
    bo.expect_place();
    ada.say("still here");
    wei.wait_for_line("Ada: still here");
    assert!(wei.is_running());
    ada.hang_up();
    ada.expect_ended();
    ada.end_seen();
    let ended = wei.wait();
    assert_eq!(ended.code, 0);
    assert!(!ended.stderr.contains("Bo"), "{}", ended.stderr);
    bo.hang_up();
    bo.expect_ended();
    assert!(!bo.pending().any(|message| matches!(message, Message::Connected(_))));
}

#[test]
fn n26_a_desk_without_calls_leaves_at_the_end_of_its_input() {
    let server = Server::start();
    let mut wei = auto_desk(&server);
    wei.close_stdin();
    assert_eq!(wei.wait().code, 0);
}

#[test]
fn a_piped_desk_that_can_take_nobody_says_so() {
    let server = Server::start();
    let wei = Client::desk(server.address()).name("Wei").start();
    wei.wait_for_stderr("add --auto to be given callers, or --json to ask for them");
}

#[test]
fn commands_with_a_slash_are_text_between_pipes() {
    let server = Server::start();
    let (mut ada, mut operator) = in_a_call(&server, |call| call);
    ada.write(b"/help\n/etc/passwd\nbye\n");
    operator.expect_ended();
    assert_eq!(operator.heard(), ["/help", "/etc/passwd", "bye"]);
}

#[test]
fn two_programs_talk_with_each_other() {
    let server = Server::start();
    let mut wei = auto_desk(&server);
    let mut ada = Client::call(server.address()).name("Ada").start();
    ada.type_line("ping");
    wei.wait_for_line("Ada: ping");
    wei.type_line("pong");
    ada.wait_for_line("Wei: pong");
    ada.type_line("bye");
    wei.wait_for_line("Ada: bye");
    assert_eq!(ada.wait().code, 0);
    wei.wait_for_stderr("-- the call has ended (Ada said bye)");
}
