//! `helpline desk` on a terminal: offers, further operators, breaks, and callers put back.

use helpline_tests::{Client, Peer, Server, keys};

use crate::terminal_means::{Console, answered, calls, desk, lines_of, on_a_terminal};

const BEL: u8 = 0x07;

fn rings(raw: &[u8]) -> usize {
    raw.iter().filter(|byte| **byte == BEL).count()
}

#[test]
fn a_desk_rings_when_somebody_waits_and_next_answers() {
    let server = Server::with().greeting("Be kind.").start();
    let wei = desk(server.address(), "Wei");
    wei.wait_for("-- signed on to line main as Wei\n-- Be kind.\n", "it says what it is");
    assert_eq!(rings(&wei.raw()), 0, "nobody waits");
    let ada = calls(server.address(), "Ada");
    wei.wait_for("-- Ada is waiting (1 waiting); /next answers", "it says who");
    assert_eq!(rings(&wei.raw()), 1, "and rings once");
    assert!(!ada.text().contains("on the line"), "nobody has answered yet");
    wei.type_line("/next");
    answered(&ada, "Wei");
    wei.wait_for("-- on the line with Ada", "it is his call");
    wei.type_line("hello");
    ada.wait_for("Wei: hello", "they talk");
    ada.type_line("bye");
    wei.wait_for("Ada: bye\n-- the call has ended (Ada said bye)", "until she says bye");
    assert_eq!(ada.exit_code(), 0);
    wei.type_line("/next");
    wei.wait_for("-- nobody is waiting", "nobody does");
    assert_eq!(rings(&wei.raw()), 1);
}

#[test]
fn an_offer_is_withdrawn_when_the_caller_leaves() {
    let server = Server::start();
    let wei = desk(server.address(), "Wei");
    let mut ada = Peer::caller(server.address(), "Ada");
    wei.wait_for("-- Ada is waiting (1 waiting)", "she is offered");
    ada.expect_place();
    ada.hang_up();
    wei.wait_for("-- Ada is no longer waiting (0 waiting)", "she left");
    wei.type_line("hello?");
    wei.wait_for("-- not said: hello?", "there is nobody to say it to");
    wei.type_line("bye");
    wei.wait_for("-- nobody is on the line; ^D signs off", "and nothing to end");
}

#[test]
fn two_operators_race_for_one_caller_and_one_wins() {
    let server = Server::start();
    let operators = [desk(server.address(), "Wei"), desk(server.address(), "Li")];
    let ada = calls(server.address(), "Ada");
    for operator in &operators {
        operator.wait_for("-- Ada is waiting (1 waiting); /next answers", "both are offered her");
    }
    for operator in &operators {
        operator.type_line("/next");
    }
    for operator in &operators {
        operator.wait_until("a call, or a word why not", |seen| {
            let lost = ["-- nobody is waiting", "-- Ada is no longer waiting (0 waiting)"];
            let over = seen.contains("-- on the line with Ada")
                || lost.iter().any(|line| seen.contains(line));
            over.then_some(())
        });
    }
    let won: Vec<bool> =
        operators.iter().map(|screen| screen.text().contains("on the line with Ada")).collect();
    assert!(won == [true, false] || won == [false, true], "{won:?}");
    answered(&ada, if won[0] { "Wei" } else { "Li" });
    assert_eq!(lines_of(&ada, "-- on the line").len(), 1);
}

#[test]
fn an_auto_desk_takes_one_caller_after_another_by_itself() {
    let server = Server::start();
    let wei = on_a_terminal(Client::desk(server.address()).args(["--auto", "--name", "Wei"]));
    wei.wait_for("-- callers are connected one after another", "it says so");
    let mut ada = Peer::caller(server.address(), "Ada");
    ada.expect_connected();
    let mut bo = Peer::caller(server.address(), "Bo");
    bo.expect_place();
    wei.wait_for("-- on the line with Ada", "the first");
    wei.type_line("bye");
    ada.expect_ended();
    wei.wait_for("-- the call has ended (you said bye)\n-- on the line with Bo", "the next");
    bo.expect_connected();
    assert_eq!(rings(&wei.raw()), 0, "nothing was offered");
}

#[test]
fn a_desk_and_a_console_answer_side_by_side() {
    let wei = Console::start();
    let first = wei.talking_with("First");
    let li = desk(wei.address, "Li");
    let ada = calls(wei.address, "Ada");
    li.wait_for("-- Ada is waiting (1 waiting); /next answers", "the console is occupied");
    li.type_line("/next");
    answered(&ada, "Li");
    ada.type_line("hello Li");
    li.wait_for("Ada: hello Li", "she talks with Li");
    assert!(!wei.text().contains("Ada"), "and with nobody else");
    drop(first);
}

#[test]
fn two_interrupts_in_a_call_put_the_caller_back_first() {
    let server = Server::start();
    let wei = desk(server.address(), "Wei");
    let ada = calls(server.address(), "Ada");
    wei.wait_for("-- Ada is waiting", "she is offered");
    wei.type_line("/next");
    answered(&ada, "Wei");
    ada.type_line("my story so far");
    wei.wait_for("Ada: my story so far", "he hears it");
    let bo = calls(server.address(), "Bo");
    bo.wait_for("-- position 1 of 1", "he waits");

    wei.press("half a sen");
    wei.wait_for("you: half a sen", "he types");
    wei.press(keys::CTRL_C);
    wei.wait_for("-- not said: half a sen", "the draft isn't lost without a word");
    wei.wait_for("-- on the line with Ada: ^C again lets them wait", "it warns");
    wei.type_line("I am still here");
    ada.wait_for("Wei: I am still here", "the call goes on");
    wei.press(keys::CTRL_C);
    assert_eq!(wei.exit_code(), 0);

    ada.wait_for("-- Wei left; you wait again\n-- position 1 of 2", "she keeps the first place");
    bo.wait_for("-- position 2 of 2", "he moves back");
    let li = desk(server.address(), "Li");
    li.wait_for("-- Ada is waiting (2 waiting)", "she is offered first");
    li.type_line("/next");
    answered(&ada, "Li");
    li.wait_for("Ada: my story so far\n", "with what was said before");
    li.wait_for("Wei: I am still here\n", "on both sides");
    ada.type_line("bye");
    assert_eq!(ada.exit_code(), 0);
}

#[test]
fn a_break_keeps_callers_away_until_it_ends() {
    let wei = Console::start();
    wei.type_line("/pause");
    wei.wait_for("-- a break: no callers come until /ready", "it says so");
    let mut ada = Peer::caller(wei.address, "Ada");
    ada.expect_place();
    let mut bo = Peer::caller(wei.address, "Bo");
    bo.expect_place();
    wei.type_line("/next");
    ada.expect_connected();
    wei.wait_for("-- on the line with Ada", "one is answered in a break, if asked for");
    wei.type_line("bye");
    ada.expect_ended();
    ada.end_seen();
    wei.wait_for("-- the call has ended (you said bye)", "and the next one isn't");
    wei.type_line("/ready");
    wei.wait_for("-- ready for callers\n-- on the line with Bo", "until the break is over");
    bo.expect_connected();
}

#[test]
fn an_operator_has_help_of_their_own() {
    let server = Server::start();
    let wei = desk(server.address(), "Wei");
    wei.type_line("/help");
    for line in ["/next ", "/pause ", "/ready ", "bye ", "/say TEXT ", "^D with nobody"] {
        wei.wait_for(&format!("-- {line}"), "it is listed");
    }
    let console = Console::start();
    console.type_line("/help");
    console.wait_for("-- ^C ends the server", "the console ends otherwise");
    assert!(!console.text().contains("signs off"));
    console.type_line("/dance");
    console.wait_for("-- /dance is no command here, and nothing was said", "it says so");
}

#[test]
fn another_caller_is_refused_in_a_call() {
    let server = Server::start();
    let wei = desk(server.address(), "Wei");
    let mut ada = Peer::caller(server.address(), "Ada");
    let mut bo = Peer::caller(server.address(), "Bo");
    wei.wait_for("-- Ada is waiting", "she is offered");
    wei.type_line("/next");
    ada.expect_connected();
    bo.expect_place();
    wei.wait_for("-- on the line with Ada", "it is his call");
    wei.type_line("/next");
    wei.wait_for("-- you are in a call; bye ends it", "one at a time");
}
