//! Terminals without editing, without colours, and the logs above a prompt.

use helpline_tests::{Client, ClientSetup, Peer, Screen, Server, keys};

use crate::terminal_means::{Console, answered, on_a_terminal};

const ESC: u8 = 0x1b;

fn in_a_call(server: &Server, change: impl Fn(ClientSetup) -> ClientSetup) -> (Screen, Peer) {
    let mut operator = Peer::operator(server.address(), "Wei");
    let ada = on_a_terminal(change(Client::call(server.address()).name("Ada")));
    operator.expect_connected();
    ada.wait_for("-- on the line with Wei", "she is answered");
    (ada, operator)
}

#[test]
fn a_plain_terminal_has_no_line_editing() {
    let server = Server::start();
    let ways: [fn(ClientSetup) -> ClientSetup; 2] =
        [|call| call.args(["--plain", "--color", "never"]), |call| call.env("TERM", "dumb")];
    for way in ways {
        let (ada, mut operator) = in_a_call(&server, way);
        ada.press("half a sen");
        ada.wait_for("half a sen", "the terminal itself echoes");
        operator.say("in between");
        ada.wait_for("Wei: in between", "it is printed at once");
        ada.type_line("tence");
        assert_eq!(operator.expect("her line", said_by_caller), "half a sentence");
        ada.type_line("");
        ada.type_line("/help");
        ada.wait_for("-- /say TEXT", "commands are the same");
        ada.type_line("/say bye");
        assert_eq!(operator.expect("her line", said_by_caller), "bye");
        ada.type_line(" Bye ");
        assert_eq!(operator.expect("her line", said_by_caller), "Bye");
        operator.expect_ended();
        assert_eq!(ada.exit_code(), 0);
        assert!(!ada.raw().contains(&ESC), "{:?}", String::from_utf8_lossy(&ada.raw()));
        assert!(!ada.text().contains("you: "), "the terminal has shown it already");
    }
}

fn said_by_caller(message: &helpline_proto::message::Message) -> Option<String> {
    match message {
        helpline_proto::message::Message::Said(said)
            if said.from == helpline_proto::ids::Side::Caller =>
        {
            Some(said.text.as_str().to_owned())
        }
        _ => None,
    }
}

#[test]
fn n25_an_interrupt_on_a_plain_terminal_hangs_up() {
    let server = Server::start();
    let (ada, mut operator) = in_a_call(&server, |call| call.args(["--plain"]));
    ada.press(keys::CTRL_C);
    operator.expect_ended();
    assert_eq!(ada.exit_code(), 0);
}

#[test]
fn n26_the_end_of_input_on_a_plain_terminal_says_bye() {
    let server = Server::start();
    let (ada, mut operator) = in_a_call(&server, |call| call.args(["--plain"]));
    ada.press(keys::CTRL_D);
    operator.expect_ended();
    ada.wait_for("-- the call has ended (you said bye)", "as at a prompt");
    assert_eq!(ada.exit_code(), 0);
}

#[test]
fn a_desk_works_on_a_plain_terminal() {
    let server = Server::start();
    let wei = on_a_terminal(Client::desk(server.address()).args(["--plain", "--name", "Wei"]));
    wei.wait_for("-- /next answers a caller", "it is signed on");
    let mut ada = Peer::caller(server.address(), "Ada");
    wei.wait_for("-- Ada is waiting (1 waiting); /next answers", "she is offered");
    wei.type_line("/next");
    ada.expect_connected();
    wei.wait_for("-- on the line with Ada", "it is his call");
    wei.type_line("hello");
    assert_eq!(ada.expect_said().text.as_str(), "hello");
    wei.press(keys::CTRL_D);
    ada.expect_ended();
    ada.end_seen();
    wei.wait_for("-- the call has ended", "that ends the call");
    wei.press(keys::CTRL_D);
    assert_eq!(wei.exit_code(), 0);
}

#[test]
fn a_console_works_on_a_dumb_terminal() {
    let setup = Server::with().env("TERM", "dumb");
    let wei = Console::without_a_prompt(Screen::server(setup).size(30, 100).start());
    let mut ada = Peer::caller(wei.address, "Ada");
    ada.expect_connected();
    wei.wait_for("-- on the line with Ada", "she is answered");
    wei.type_line("hello");
    assert_eq!(ada.expect_said().text.as_str(), "hello");
    wei.press(keys::CTRL_C);
    wei.wait_for("-- the line is closing", "it can be ended");
}

#[test]
fn names_are_bold_where_colours_are_wanted() {
    let server = Server::start();
    let bold = "\x1b[1mWei:\x1b[0m hello";
    let colored = |change: fn(ClientSetup) -> ClientSetup| {
        let (ada, mut operator) = in_a_call(&server, change);
        operator.say("hello");
        ada.wait_for("Wei: hello", "it comes");
        String::from_utf8(ada.raw()).unwrap().contains(bold)
    };
    assert!(colored(|call| call), "on a terminal");
    assert!(!colored(|call| call.env("NO_COLOR", "1")), "NO_COLOR");
    assert!(colored(|call| call.env("NO_COLOR", "")), "an empty NO_COLOR doesn't count");
    assert!(colored(|call| call.env("NO_COLOR", "1").args(["--color", "always"])), "asked for");
    assert!(!colored(|call| call.args(["--color", "never"])), "asked not to");
    assert!(!colored(|call| call.env("TERM", "dumb")), "a dumb terminal");
}

#[test]
fn log_lines_come_above_the_prompt() {
    let server = Server::start();
    let mut operator = Peer::operator(server.address(), "Wei");
    let call = Client::call(server.address()).name("Ada").env("HELPLINE_LOG", "helpline=debug");
    let ada = on_a_terminal(call);
    operator.expect_connected();
    answered(&ada, "Wei");
    ada.press("half a sen");
    ada.wait_for("you: half a sen", "she types");
    ada.wait_for("debug: ", "the log is in the same place");
    ada.type_line("tence");
    assert_eq!(operator.expect_said().text.as_str(), "half a sentence");
}

#[test]
fn a_terminal_may_change_its_size_in_a_call() {
    let server = Server::start();
    let (ada, mut operator) = in_a_call(&server, |call| call);
    answered(&ada, "Wei");
    ada.press("a draft that has to be wrapped once the terminal is narrow");
    ada.wait_for("terminal is narrow", "she types");
    ada.resize(10, 40);
    operator.say("hello");
    ada.wait_for("Wei: hello", "it comes");
    ada.press(keys::ENTER);
    let said = operator.expect("her line", said_by_caller);
    assert_eq!(said, "a draft that has to be wrapped once the terminal is narrow");
}
