//! ^C, ^D and signals on terminals, and the state in which they leave a terminal.

use std::ffi::OsString;

use helpline_proto::{code::Code, ids::Resumable};
use helpline_tests::{Client, Home, Peer, Screen, Server, keys};
use rustix::process::Signal;

use crate::terminal_means::{Console, answered, caller_and_peer, calls, soon, stands};

/// Starts a command line in a shell that then says how it ended, and whether the terminal is as before.
fn in_a_shell(line: Vec<OsString>, home: &Home) -> Screen {
    let script = r#"before=$(stty -g); "$@"; echo "exit code $?"
        if [ "$(stty -g)" = "$before" ]; then echo "same modes"; else echo "other modes"; stty -a; fi
        read -r line; echo "read: $line""#;
    let shell = ["sh", "-c", script, "sh"].map(OsString::from);
    Screen::program(shell.into_iter().chain(line).collect(), home).size(40, 100).start()
}

/// Waits for what the shell says, and that the terminal echoes lines again.
fn left_in_order(screen: &Screen, code: i32) {
    screen.wait_for(&format!("exit code {code}\nsame modes"), "the terminal is as it was");
    screen.type_line("typed");
    screen.wait_for("typed\nread: typed", "the shell's own line is shown and read");
    let raw = String::from_utf8_lossy(&screen.raw()).into_owned();
    for (on, off) in [("\x1b[?2004h", "\x1b[?2004l"), ("\x1b[?2026h", "\x1b[?2026l")] {
        assert!(raw.rfind(off) >= raw.rfind(on), "{on:?} is still on");
    }
}

fn console_in_a_shell(args: &[&str]) -> Console {
    let home = Home::new();
    let setup = Server::with().home(&home).args(args.iter().copied()).with_console();
    Console::on(in_a_shell(setup.command_line(), &home))
}

#[test]
fn n23_a_first_interrupt_at_the_console_lets_calls_finish() {
    let wei = console_in_a_shell(&[]);
    let ada = calls(wei.address, "Ada");
    answered(&ada, "wei");
    let bo = calls(wei.address, "Bo");
    bo.wait_for("-- position 1 of 1", "he waits");
    wei.press(keys::CTRL_C);
    wei.wait_for("-- the line is closing; calls may finish, at most 30 s", "it says what follows");
    wei.wait_for("a second ^C", "and how to end it now");

    let late = calls(wei.address, "Late");
    late.wait_for("helpline: the line is closed: the server stops", "a new caller too");
    assert_eq!(late.exit_code(), 75);

    wei.type_line("one last thing");
    ada.wait_for("wei: one last thing", "the call goes on");
    ada.type_line("thank you");
    wei.wait_for("Ada: thank you", "in both directions");
    ada.type_line("bye");
    assert_eq!(ada.exit_code(), 0);
    left_in_order(&wei, 0);
    assert!(!wei.text().contains("on the line with Bo"), "nobody who waits is connected any more");
    bo.wait_for(
        "-- the server is stopping; reconnecting",
        "who waits is told, and goes on waiting",
    );
    assert!(bo.is_running());
}

#[test]
fn n23_a_second_interrupt_at_the_console_ends_everything_now() {
    let wei = console_in_a_shell(&[]);
    let ada = calls(wei.address, "Ada");
    answered(&ada, "wei");
    ada.press("half a sen");
    ada.wait_for("you: half a sen", "she types");
    wei.press(keys::CTRL_C);
    wei.wait_for("-- the line is closing", "it says what follows");
    wei.press(keys::CTRL_C);
    left_in_order(&wei, 0);
    ada.wait_for("-- the server is stopping; reconnecting", "she is told");
    ada.wait_until("what she typed still stands", |seen| {
        (seen.lines().last() == Some("off: half a sen")).then_some(())
    });
}

#[test]
fn n23_a_console_without_calls_ends_at_the_first_interrupt() {
    let wei = console_in_a_shell(&[]);
    wei.press("half a sen");
    wei.press(keys::CTRL_C);
    left_in_order(&wei, 0);
}

#[test]
fn n23_an_interrupt_at_the_console_shows_the_draft() {
    let wei = Console::start();
    let _ada = wei.talking_with("Ada");
    wei.press("half a sen");
    wei.wait_for("you: half a sen", "he types");
    wei.press(keys::CTRL_C);
    wei.wait_for("-- the line is closing", "it says what follows");
    wei.wait_for("-- not said: half a sen", "as everywhere else");
}

#[test]
fn n24_sigterm_at_a_console_is_the_same_as_an_interrupt() {
    let wei = Console::start();
    let mut ada = wei.talking_with("Ada");
    wei.signal(Signal::TERM);
    wei.wait_for("-- the line is closing; calls may finish", "it says what follows");
    wei.type_line("goodbye");
    assert_eq!(ada.expect_said().text.as_str(), "goodbye");
    wei.signal(Signal::TERM);
    let goodbye = ada.expect_goodbye();
    assert_eq!((goodbye.code, goodbye.resumable), (Code::STOPPING, Resumable::Yes));
    assert_eq!(wei.exit_code(), 0);
}

#[test]
fn n25_an_interrupt_in_a_call_hangs_up_and_shows_the_draft() {
    let wei = Console::start();
    let home = Home::new();
    let call = Client::call(wei.address).name("Ada").home(&home);
    let ada = in_a_shell(call.command_line(), &home);
    answered(&ada, "wei");
    ada.press("half a sen");
    ada.wait_for("you: half a sen", "she types");
    ada.press(keys::CTRL_C);
    soon(&wei, "-- the call has ended (Ada said bye)", "the operator is told");
    ada.wait_for("-- not said: half a sen\n-- the call has ended (you said bye)", "the draft");
    left_in_order(&ada, 0);
    assert!(!wei.text().contains("half"), "it wasn't said");
}

#[test]
fn n25_an_interrupt_before_an_answer_leaves_with_130() {
    let server = Server::start();
    let home = Home::new();
    let call = Client::call(server.address()).name("Ada").home(&home);
    let ada = in_a_shell(call.command_line(), &home);
    ada.wait_until("she waits at a prompt", |seen| {
        (seen.contains("-- position 1 of 1") && seen.ends_with("you:")).then_some(())
    });
    ada.press(keys::CTRL_C);
    ada.wait_for("-- the call has ended (you left before an answer)", "it says so");
    left_in_order(&ada, 130);
}

#[test]
fn n26_the_end_of_input_of_a_caller_says_bye() {
    let wei = Console::start();
    let ada = calls(wei.address, "Ada");
    answered(&ada, "wei");
    // Not on a line that has something on it.
    ada.press("x");
    ada.press(keys::CTRL_D);
    ada.press(keys::BACKSPACE);
    ada.type_line("still here");
    wei.wait_for("Ada: still here", "she is");
    ada.press(keys::CTRL_D);
    wei.wait_for("-- the call has ended (Ada said bye)", "he is told");
    assert_eq!(ada.exit_code(), 0);
    assert_eq!(lines(&wei, "Ada:"), ["Ada: still here"], "nothing was said by ^D");
}

fn lines(screen: &Screen, beginning: &str) -> Vec<String> {
    crate::terminal_means::lines_of(screen, beginning)
}

#[test]
fn n26_the_end_of_input_of_a_waiting_caller_leaves_with_130() {
    let server = Server::start();
    let ada = calls(server.address(), "Ada");
    ada.wait_until("she waits at a prompt", |seen| {
        (seen.contains("-- position 1 of 1") && seen.ends_with("you:")).then_some(())
    });
    ada.press(keys::CTRL_D);
    assert_eq!(ada.exit_code(), 130);
}

#[test]
fn n26_the_end_of_input_at_a_desk_hangs_up_and_then_signs_off() {
    let server = Server::start();
    let wei = crate::terminal_means::desk(server.address(), "Wei");
    let mut ada = Peer::caller(server.address(), "Ada");
    wei.type_line("/next");
    wei.wait_for("-- on the line with Ada", "she is answered");
    wei.press(keys::CTRL_D);
    ada.expect_ended();
    ada.end_seen();
    wei.wait_for("-- the call has ended (you said bye)", "that ends the call");
    assert!(wei.is_running(), "and nothing else");
    wei.press(keys::CTRL_D);
    assert_eq!(wei.exit_code(), 0);
}

#[test]
fn n26_the_end_of_input_at_the_console_ends_the_call_but_not_the_server() {
    let wei = Console::start();
    let mut ada = wei.talking_with("Ada");
    wei.press(keys::CTRL_D);
    ada.expect_ended();
    ada.end_seen();
    wei.wait_for("-- the call has ended (you said bye)", "that ends the call");
    wei.press(keys::CTRL_D);
    wei.wait_for("-- nobody is on the line; ^C ends the server", "it says what does");
    let _bo = wei.talking_with("Bo");
    stands(&wei, "you:", "it is what is being typed");
}

#[test]
fn the_end_of_a_call_gives_the_terminal_back() {
    let server = Server::start();
    let mut operator = Peer::operator(server.address(), "Wei");
    let home = Home::new();
    let call = Client::call(server.address()).name("Ada").home(&home);
    let ada = in_a_shell(call.command_line(), &home);
    operator.expect_connected();
    answered(&ada, "Wei");
    ada.press("half a sen");
    ada.wait_for("you: half a sen", "she types");
    operator.say("I have to go");
    operator.hang_up();
    ada.wait_for("Wei: I have to go\n-- the call has ended (Wei said bye)", "in order");
    ada.wait_for("-- not said: half a sen", "the draft isn't lost without a word");
    left_in_order(&ada, 0);
}

#[test]
fn signals_end_a_caller_without_hanging_up() {
    let server = Server::start();
    for (signal, code) in [(Signal::HUP, 129), (Signal::TERM, 143)] {
        let (ada, _operator) = caller_and_peer(&server, "Ada");
        ada.signal(signal);
        assert_eq!(ada.exit_code(), code);
    }
}
