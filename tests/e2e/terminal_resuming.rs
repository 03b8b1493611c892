//! On terminals: connections break, servers and programs end, and the conversation goes on.

use helpline_tests::{Client, Home, Peer, Screen, Server, keys};
use rustix::process::Signal;

use crate::terminal_means::{
    Console, answered, caller_and_peer, calls, lines_of, on_a_terminal, stands,
};

/// The lines of a screen, in order, that are among these.
fn order(screen: &Screen, wanted: &[&str]) -> Vec<String> {
    let text = screen.text();
    text.lines().filter(|line| wanted.contains(line)).map(ToOwned::to_owned).collect()
}

/// The console of a server is killed and started again, on the same address.
fn console_again(wei: Console, server: &dyn Fn(&str) -> helpline_tests::ServerSetup) -> Console {
    let address = wei.address;
    wei.signal(Signal::KILL);
    helpline_tests::wait_until("the server is gone", || (!wei.is_running()).then_some(()));
    let screen = Screen::server(server(&address.to_string())).size(30, 100).start();
    Console::on(screen)
}

#[test]
fn n13_a_caller_sees_that_it_reconnects_and_goes_on() {
    let mut server = Server::start();
    let (ada, mut operator) = caller_and_peer(&server, "Ada");
    ada.type_line("before");
    operator.expect_text("before");
    ada.wait_for("you: before\n", "it is said");
    ada.press("half a sen");
    stands(&ada, "you: half a sen", "she types");
    server.crash();
    ada.wait_for("-- the connection broke; reconnecting\n", "she is told");
    stands(&ada, "off: half a sen", "she may type on");
    ada.type_line("tence");
    ada.wait_for("-- kept until there is a connection", "she is told what becomes of it");
    ada.press("and more");
    server = server.again().start();
    operator.come_back();
    operator.expect_text("half a sentence");
    operator.say("welcome back");
    ada.wait_for("-- connected again\n", "she is told");
    ada.wait_for("you: half a sentence\n", "it is said");
    ada.wait_for("Wei: welcome back\n", "he is heard");
    stands(&ada, "you: and more", "what she types is where it was");
    ada.press(keys::ENTER);
    operator.expect_text("and more");
    for line in ["you: before", "you: half a sentence", "-- connected again"] {
        assert_eq!(lines_of(&ada, line).len(), 1, "{line}: {}", ada.text());
    }
    ada.type_line("bye");
    assert_eq!(ada.exit_code(), 0);
    operator.expect_ended();
    assert_eq!(operator.heard(), ["before", "half a sentence", "welcome back", "and more", "bye"]);
    drop(server);
}

#[test]
fn n13_a_waiting_caller_sees_the_place_again() {
    let mut server = Server::start();
    let mut first = Peer::caller(server.address(), "First");
    first.expect_place();
    let ada = calls(server.address(), "Ada");
    ada.wait_for("-- position 2 of 2", "she waits");
    server.crash();
    ada.wait_for("-- the connection broke; reconnecting", "she is told");
    let _server = server.again().start();
    ada.wait_for("-- connected again", "she is told");
    stands(&ada, "you:", "there is a prompt");
    first.come_back();
    first.hang_up();
    ada.wait_for("-- position 1 of 1", "she has moved up");
}

#[test]
fn the_other_sides_connection_is_told_of() {
    let wei = Console::start();
    let ada = calls(wei.address, "Ada");
    answered(&ada, "wei");
    ada.signal(Signal::KILL);
    wei.wait_for("-- Ada's connection broke; they may come back", "he is told");
    let server = Server::start();
    let (ada, mut operator) = caller_and_peer(&server, "Ada");
    operator.vanish();
    ada.wait_for("-- Wei's connection broke; they may come back", "she is told");
    ada.type_line("hello?");
    operator.come_back();
    operator.expect_text("hello?");
    ada.wait_for("-- Wei is back", "she is told");
}

#[test]
fn an_unfinished_call_is_offered_at_start_and_enter_takes_it_up() {
    let server = Server::start();
    let home = Home::new();
    let mut operator = Peer::operator(server.address(), "Wei");
    let call = || on_a_terminal(Client::call(server.address()).name("Ada").home(&home));
    let ada = call();
    operator.expect_connected();
    answered(&ada, "Wei");
    ada.type_line("my story");
    operator.expect_text("my story");
    operator.say("go on");
    ada.wait_for("Wei: go on", "she hears it");
    ada.signal(Signal::KILL);
    operator.expect_away();
    operator.say("are you there?");

    let again = call();
    again.wait_for("-- an unfinished call to", "it is named");
    again.wait_for("Resume? [Y/n]", "and offered");
    again.press(keys::ENTER);
    again.wait_for("-- earlier in this call:\n", "what was said is marked");
    again.wait_for("Wei: are you there?\n", "all of it is there");
    let wanted = ["you: my story", "Wei: go on", "Wei: are you there?"];
    assert_eq!(order(&again, &wanted), wanted, "once each, in order");
    operator.expect_back();
    again.wait_for("on the line with Wei", "where she is stands behind it");
    stands(&again, "you:", "there is a prompt");
    again.type_line("yes");
    operator.expect_text("yes");
    again.type_line("bye");
    assert_eq!(again.exit_code(), 0);
    operator.expect_ended();
    assert_eq!(operator.heard(), ["my story", "go on", "are you there?", "yes", "bye"]);
    // Nothing is left to be offered.
    let anew = call();
    anew.wait_for("-- position 1 of 1", "a new call");
    assert!(!anew.text().contains("Resume?"));
}

#[test]
fn an_unfinished_call_may_be_declined_and_its_unsaid_lines_are_shown() {
    let mut server = Server::start();
    let home = Home::new();
    let mut operator = Peer::operator(server.address(), "Wei");
    let ada = on_a_terminal(Client::call(server.address()).name("Ada").home(&home));
    operator.expect_connected();
    answered(&ada, "Wei");
    server.crash();
    ada.wait_for("reconnecting", "she is told");
    stands(&ada, "off:", "there is a prompt");
    ada.type_line("never heard");
    ada.wait_for("-- kept until there is a connection", "it is kept");
    ada.signal(Signal::KILL);
    let server = server.again().start();
    operator.come_back();
    let anew = Client::call(server.address()).name("Ada").home(&home);
    let anew = Screen::client(&anew).size(24, 120).start();
    anew.wait_for("1 line not said yet", "it says so");
    anew.wait_for("Resume? [Y/n]", "it asks");
    anew.type_line("perhaps");
    anew.wait_for_times("Resume? [Y/n]", 2, "that is no answer");
    anew.type_line("n");
    anew.wait_for("not said: never heard", "the line isn't lost without a word");
    anew.wait_for("-- position 1 of 1", "a new call begins");
    operator.settle();
    assert_eq!(operator.heard(), [""; 0]);
}

#[test]
fn a_desk_on_a_terminal_goes_on_where_it_was() {
    let server = Server::start();
    let home = Home::new();
    let desk = || on_a_terminal(Client::desk(server.address()).name("Wei").home(&home));
    let wei = desk();
    let mut ada = Peer::caller(server.address(), "Ada");
    wei.wait_for("-- Ada is waiting", "she is offered");
    wei.type_line("/next");
    ada.expect_connected();
    ada.say("my story");
    wei.wait_for("Ada: my story", "he hears it");
    wei.type_line("go on");
    ada.expect_text("go on");
    wei.signal(Signal::KILL);
    ada.expect_away();
    let again = desk();
    again.wait_for("on the line with Ada", "he is where he was");
    let wanted = ["-- earlier in this call:", "Ada: my story", "Wei: go on"];
    assert_eq!(order(&again, &wanted), wanted, "{}", again.text());
    ada.expect_back();
    again.type_line("where were we?");
    ada.expect_text("where were we?");
}

#[test]
fn a_console_that_is_killed_and_started_again_has_its_call_with_what_was_said() {
    let home = Home::new();
    let server = |address: &str| Server::with().home(&home).listen(address);
    let wei = Console::with(server("127.0.0.1:0"));
    let ada = calls(wei.address, "Ada");
    answered(&ada, "wei");
    answered(&wei, "Ada");
    ada.type_line("my story");
    wei.wait_for("Ada: my story", "he hears it");
    wei.type_line("go on");
    ada.wait_for("wei: go on", "she hears it");
    let bo = calls(wei.address, "Bo");
    bo.wait_for("-- position 1 of 1", "he waits");

    let wei = console_again(wei, &server);
    for caller in [&ada, &bo] {
        caller.wait_for("-- connected again", "it goes on by itself");
    }
    wei.wait_for("on the line with Ada", "she is his caller still");
    let wanted = ["-- earlier in this call:", "Ada: my story", "wei: go on"];
    assert_eq!(order(&wei, &wanted), wanted, "{}", wei.text());
    wei.type_line("where were we?");
    ada.wait_for("wei: where were we?", "she hears it");
    ada.type_line("at the beginning");
    wei.wait_for("Ada: at the beginning", "he hears it");
    ada.type_line("bye");
    assert_eq!(ada.exit_code(), 0);
    wei.wait_for("-- on the line with Bo", "and the next one");
    for line in ["you: my story", "wei: go on", "wei: where were we?"] {
        assert_eq!(lines_of(&ada, line).len(), 1, "{line}: {}", ada.text());
    }
}

#[test]
fn n25_an_interrupt_while_reconnecting_hangs_up_later_and_a_second_one_leaves() {
    let mut server = Server::start();
    let (ada, mut operator) = caller_and_peer(&server, "Ada");
    server.crash();
    ada.wait_for("reconnecting", "she is told");
    stands(&ada, "off:", "there is a prompt");
    ada.press("half a sen");
    stands(&ada, "off: half a sen", "she types");
    ada.press(keys::CTRL_C);
    ada.wait_for("-- not said: half a sen", "the draft isn't lost without a word");
    ada.wait_for("-- it hangs up as soon as there is a connection; ^C leaves now", "it says so");
    ada.press(keys::CTRL_C);
    assert_eq!(ada.exit_code(), 130);
    ada.wait_for("the call is kept for 10 minutes; to go on: helpline call", "and what is kept");
    drop(server.again().start());
    operator.vanish();
}
