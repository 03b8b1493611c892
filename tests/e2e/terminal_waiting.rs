//! The queue, as it is seen from terminals: the main story, and who is shown to whom.

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use helpline_proto::ids::Answering;
use helpline_tests::{Client, Peer, Screen, Server, keys, wait_within};

use crate::terminal_means::{Console, answered, calls, lines_of, soon, stands};

#[test]
fn the_main_story() {
    let setup = Server::with().places(4).greeting("Welcome. You are talking to a person.");
    let wei = Console::with(setup);
    let xiaowen = calls(wei.address, "Xiaowen");
    answered(&xiaowen, "wei");
    xiaowen.wait_for("-- Welcome. You are talking to a person.", "she is greeted");
    wei.wait_for("-- on the line with Xiaowen", "he is told who calls");

    // Both talk at once.
    wei.press("Hello, this is W");
    xiaowen.press("I can't sl");
    wei.type_line("ei.");
    xiaowen.wait_for("wei: Hello, this is Wei.\nyou: I can't sl", "her draft stands");
    xiaowen.type_line("eep.");
    wei.wait_for("Xiaowen: I can't sleep.", "he reads it");

    // Four wait, with a position that moves.
    let waiting: Vec<Screen> = (1..=4)
        .map(|n| {
            let caller = calls(wei.address, &format!("Caller {n}"));
            caller.wait_for(&format!("-- position {n} of {n}"), "the place is told");
            caller
        })
        .collect();

    // The next one hears busy, with a reason, and leaves.
    let busy = calls(wei.address, "Caller 5");
    busy.wait_for("helpline: the line is busy: every place is taken", "it says so");
    busy.wait_for("try again in ", "and what to do");
    assert_eq!(busy.exit_code(), 75);

    // What is said while waiting is there when somebody answers.
    let first = &waiting[0];
    first.wait_until("there is a prompt", |seen| seen.ends_with("you:").then_some(()));
    first.type_line("it's me again");
    first.wait_for("you: it's me again\n", "it is said");

    // Bye from the caller: the next one is connected, greeted, and told who answers.
    xiaowen.type_line("bye");
    assert_eq!(xiaowen.exit_code(), 0);
    wei.wait_for("Xiaowen: bye\n-- the call has ended (Xiaowen said bye)", "he is told");
    wei.wait_for("-- on the line with Caller 1\nCaller 1: it's me again", "with what was said");
    answered(first, "wei");
    first.wait_for("-- Welcome. You are talking to a person.", "the second one is greeted");
    for (n, caller) in waiting.iter().enumerate().skip(1) {
        caller.wait_for(&format!("-- position {n} of 3"), "the position moves");
    }

    // Bye from the operator: the same.
    wei.type_line("bye");
    first.wait_for("wei: bye\n-- the call has ended (wei said bye)", "she is told");
    assert_eq!(first.exit_code(), 0);
    wei.wait_for("-- the call has ended (you said bye)\n-- on the line with Caller 2", "next");
    answered(&waiting[1], "wei");
    waiting[2].wait_for("-- position 1 of 2", "the position moves");
    waiting[3].wait_for("-- position 2 of 2", "the position moves");
}

#[test]
fn n09_the_operator_sees_who_left_and_the_next_caller_is_connected() {
    let wei = Console::start();
    let mut ada = wei.talking_with("Ada");
    let mut bo = Peer::caller(wei.address, "Bo");
    wei.press("half a sen");
    wei.wait_for("you: half a sen", "he types");
    ada.hang_up();
    ada.expect_ended();
    ada.end_seen();
    soon(&wei, "-- the call has ended (Ada said bye)", "he is told who left");
    wei.wait_for("-- on the line with Bo", "the next one is connected");
    bo.expect_connected();
    assert_eq!(lines_of(&wei, "Ada:"), [""; 0], "no empty line was shown");
    stands(&wei, "you: half a sen", "the draft is his to send or to delete");
    wei.press(keys::CTRL_U);
    wei.type_line("hello Bo");
    assert_eq!(bo.expect_said().text.as_str(), "hello Bo");
}

#[test]
fn n09_a_draft_begun_for_one_caller_is_not_said_to_the_next() {
    let wei = Console::start();
    let mut ada = wei.talking_with("Ada");
    let mut bo = Peer::caller(wei.address, "Bo");
    wei.press("what you told me about your husb");
    wei.wait_for("your husb", "he types");
    ada.hang_up();
    bo.expect_connected();
    // He looks at the keys, not at the screen.
    wei.type_line("and");
    wei.type_line("hello Bo");
    assert_eq!(bo.expect_said().text.as_str(), "hello Bo");
    wei.wait_for("-- not said: what you told me about your husband", "he is told");
}

#[test]
fn n09_a_caller_whose_connection_breaks_is_told_and_does_not_keep_the_operator() {
    let wei = Console::start();
    let mut ada = wei.talking_with("Ada");
    let mut bo = Peer::caller(wei.address, "Bo");
    ada.reset();
    soon(&wei, "-- Ada's connection broke; they may come back", "he is told");
    wei.type_line("I am still here");
    wei.wait_for("you: I am still here\n", "it is said all the same");
    // Until she has been away for a while, the call is hers; then he may go on.
    let begun = Instant::now();
    wait_within(Duration::from_secs(200), "the next caller", || {
        wei.type_line("/next");
        thread::sleep(Duration::from_secs(1));
        wei.text().contains("-- on the line with Bo").then_some(())
    });
    assert!(begun.elapsed() >= Duration::from_secs(18), "{:?}", begun.elapsed());
    wei.wait_for("-- Ada went back to the queue\n-- on the line with Bo", "in order");
    bo.expect_connected();
    wei.type_line("hello Bo");
    assert_eq!(bo.expect_said().text.as_str(), "hello Bo");
    ada.come_back();
    assert_eq!(ada.expect_place().position, 1);
    ada.expect_text("I am still here");
}

#[test]
fn n10_a_silent_connection_is_never_shown_to_an_operator() {
    let wei = Console::start();
    let before = wei.text();
    // One that goes, one that stays, one that has said hello, one that waited and hung up.
    drop(TcpStream::connect(wei.address).unwrap());
    let _silent = TcpStream::connect(wei.address).unwrap();
    let _welcomed = Peer::welcomed(wei.address);
    let mut gone = Peer::connect(wei.address);
    gone.send(Peer::hello());
    gone.half_close();
    gone.expect_over();
    let _caller = wei.talking_with("Ada");
    let shown = wei.text();
    let rest = shown.strip_prefix(before.trim_end_matches("\nyou:"));
    assert_eq!(rest, Some("\n-- on the line with Ada\nyou:"), "nobody else was shown");
}

#[test]
fn n22_who_hung_up_while_waiting_is_never_shown() {
    let wei = Console::start();
    let mut ada = wei.talking_with("Ada");
    let mut ghost = Peer::caller(wei.address, "Ghost");
    ghost.expect_place();
    let mut bo = Peer::caller(wei.address, "Bo");
    bo.expect_place();
    ghost.say("urgent");
    ghost.hang_up();
    ghost.expect_ended();
    ada.hang_up();
    wei.wait_for("-- on the line with Bo", "Bo is alive");
    bo.expect_connected();
    assert!(!wei.text().contains("Ghost") && !wei.text().contains("urgent"));
}

#[test]
fn n21_the_place_is_shown_and_every_change_of_it() {
    let server = Server::start();
    let mut first = Peer::caller(server.address(), "First");
    let ada = calls(server.address(), "Ada");
    ada.wait_for("-- position 2 of 2", "she waits, though nobody answers yet");
    first.expect_place();
    first.hang_up();
    ada.wait_for("-- position 1 of 1", "she has moved up without pressing a key");
    let mut operator = Peer::operator(server.address(), "Wei");
    answered(&ada, "Wei");
    operator.expect_connected();
    assert_eq!(lines_of(&ada, "-- position").len(), 2, "nothing was told twice");
}

#[test]
fn what_a_caller_says_while_waiting_is_there_when_somebody_answers() {
    let server = Server::start();
    let ada = calls(server.address(), "Ada");
    ada.wait_until("she waits at a prompt", |seen| {
        (seen.contains("-- position 1 of 1") && seen.ends_with("you:")).then_some(())
    });
    ada.type_line("is anybody there?");
    ada.type_line("it is urgent");
    ada.wait_for("you: it is urgent\nyou:", "she said it");
    let wei = Screen::client(&Client::desk(server.address()).args(["--auto", "--name", "Wei"]));
    let wei = wei.start();
    let wanted = "-- on the line with Ada\nAda: is anybody there?\nAda: it is urgent\n";
    wei.wait_for(wanted, "all of it, in order");
}

#[test]
fn a_stranger_is_not_a_caller_until_it_has_a_place() {
    // Signing on as an operator isn't shown at the console either.
    let wei = Console::start();
    let before = wei.text();
    let mut operator = Peer::connect(wei.address);
    operator.send_all([Peer::hello(), Peer::sign_on("Li", Answering::ByHand)]);
    operator.expect_admitted();
    let mut twice = Peer::connect(wei.address);
    twice.send_all([Peer::hello(), Peer::hello()]);
    twice.expect_goodbye();
    assert_eq!(wei.text(), before);
}
