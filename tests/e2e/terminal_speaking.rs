//! Lines between two terminals: what Enter does, what it doesn't, and what a draft survives.

use helpline_proto::message::Message;
use helpline_tests::{Client, Peer, Screen, Server, keys};

use crate::terminal_means::{Console, answered, caller_and_peer, calls, lines_of, soon, stands};

#[test]
fn n07_an_empty_line_is_harmless_on_a_terminal() {
    let wei = Console::start();
    let ada = calls(wei.address, "Ada");
    answered(&ada, "wei");
    for empty in ["", "", "   ", ""] {
        ada.type_line(empty);
    }
    ada.type_line("hello");
    wei.wait_for("Ada: hello", "her prompt is live");
    assert_eq!(lines_of(&wei, "Ada:"), ["Ada: hello"], "nothing empty was said");
    ada.wait_for("you: hello\nyou:", "she sees what she said");
    assert_eq!(lines_of(&ada, "you: "), ["you: hello"]);
    let told = ["-- connecting", "-- first contact", "-- on the line with wei"];
    assert_eq!(lines_of(&ada, "-- ").len(), told.len(), "nobody complained: {}", ada.text());
}

#[test]
fn n08_an_empty_line_of_the_operator_is_harmless_on_a_terminal() {
    let wei = Console::start();
    wei.type_line("");
    let ada = calls(wei.address, "Ada");
    wei.wait_for("-- on the line with Ada", "she is there");
    for _ in 0..3 {
        wei.type_line("");
    }
    wei.type_line("hi");
    ada.wait_for("wei: hi", "his prompt is live");
    ada.type_line("");
    ada.type_line("hello");
    wei.wait_for("Ada: hello", "and so is hers");
    assert_eq!(lines_of(&ada, "wei:"), ["wei: hi"]);
    assert_eq!(lines_of(&wei, "you: "), ["you: hi"]);
    assert_eq!(lines_of(&wei, "-- ").len(), 2, "nobody complained: {}", wei.text());
}

/// What hangs up, alone on a line.
const BYES: [&str; 6] = ["bye", "bye ", " bye", "Bye", "BYE", "  bYe  "];

/// What doesn't.
const TEXTS: [&str; 6] = ["goodbye", "bye!", "bye for now", "bye.", "by e", "bye bye"];

#[test]
fn n14_every_bye_a_caller_types_hangs_up_and_is_heard_first() {
    let server = Server::start();
    let mut operator = Peer::operator(server.address(), "Wei");
    for bye in BYES {
        let ada = calls(server.address(), "Ada");
        operator.expect_connected();
        answered(&ada, "Wei");
        ada.type_line(bye);
        assert_eq!(operator.expect_said().text.as_str(), bye.trim());
        operator.expect_ended();
        assert!(matches!(operator.entries(), [.., Message::Said(_), Message::Ended(_)]), "{bye:?}");
        operator.end_seen();
        assert_eq!(ada.exit_code(), 0, "{bye:?}");
        let word = bye.trim();
        ada.wait_for(&format!("you: {word}\n-- the call has ended (you said bye)"), "in order");
    }
}

#[test]
fn n14_every_bye_an_operator_types_hangs_up_and_is_heard_first() {
    let wei = Console::start();
    for (n, bye) in BYES.into_iter().enumerate() {
        let mut ada = wei.talking_with(&format!("Ada {n}"));
        wei.type_line(bye);
        assert_eq!(ada.expect_said().text.as_str(), bye.trim());
        ada.expect_ended();
        assert!(matches!(ada.entries(), [.., Message::Said(_), Message::Ended(_)]), "{bye:?}");
        ada.end_seen();
        wei.wait_for_times("-- the call has ended (you said bye)", n + 1, "he is told");
    }
}

#[test]
fn n14_words_that_only_contain_bye_are_text_on_a_terminal() {
    let wei = Console::start();
    let ada = calls(wei.address, "Ada");
    answered(&ada, "wei");
    for text in TEXTS {
        ada.type_line(text);
        wei.wait_for(&format!("Ada: {text}\n"), "it is text");
        wei.type_line(text);
        ada.wait_for(&format!("wei: {text}\n"), "it is text");
    }
    ada.type_line("/say bye");
    wei.wait_for("Ada: bye\n", "the word alone");
    wei.type_line("/say bye");
    ada.wait_for("wei: bye\n", "the word alone");
    assert!(!wei.text().contains("has ended"), "nobody hung up");
    ada.type_line("bye");
    wei.wait_for_times("Ada: bye\n", 2, "the word, then the end");
    wei.wait_for("-- the call has ended (Ada said bye)", "now she did");
    assert_eq!(ada.exit_code(), 0);
}

#[test]
fn n16_both_type_at_once_and_neither_draft_suffers() {
    let wei = Console::start();
    let ada = calls(wei.address, "Ada");
    answered(&ada, "wei");
    wei.wait_for("-- on the line with Ada", "he is told");
    // Letter by letter, in turns; every third pair a line of the other side comes in between.
    let hers = "my draft, letter by letter";
    let his = "his draft, the same way...";
    for (a, w) in hers.chars().zip(his.chars()) {
        ada.press(&a.to_string());
        wei.press(&w.to_string());
    }
    ada.wait_for(&format!("you: {hers}"), "it is typed");
    wei.wait_for(&format!("you: {his}"), "it is typed");
    assert!(!wei.text().contains("Ada: "), "a draft is nobody else's");
    ada.press(keys::ENTER);
    soon(&wei, &format!("Ada: {hers}\n"), "it comes while he types");
    stands(&wei, &format!("you: {his}"), "his draft is where it was");
    wei.press(keys::ENTER);
    ada.wait_for(&format!("wei: {his}\n"), "it comes");
    ada.wait_for(&format!("you: {hers}\nwei: {his}\nyou:"), "in order");
}

/// A server on which a wire may say any number of lines.
fn unhurried() -> Server {
    Server::with().says(0).start()
}

/// More lines than either screen is high, several times over.
const MANY: usize = 120;

#[test]
fn n16_a_draft_of_a_caller_survives_more_than_a_hundred_lines() {
    let server = unhurried();
    let (ada, mut operator) = caller_and_peer(&server, "Ada");
    ada.press("half a sen");
    ada.wait_for("you: half a sen", "she types");
    let wanted: Vec<String> = (0..MANY).map(|n| format!("Wei: line {n}")).collect();
    for n in 0..MANY {
        operator.say(&format!("line {n}"));
    }
    ada.wait_for(&format!("Wei: line {}\nyou: half a sen", MANY - 1), "all came, above the draft");
    assert_eq!(lines_of(&ada, "Wei:"), wanted, "each once, in order");
    assert_eq!(lines_of(&ada, "you:"), ["you: half a sen"]);
    ada.type_line("tence");
    let said = operator.expect("her line", |message| match message {
        Message::Said(said) if said.text.as_str().starts_with("half") => Some(said.clone()),
        _ => None,
    });
    assert_eq!(said.text.as_str(), "half a sentence");
}

#[test]
fn n16_a_draft_of_an_operator_survives_more_than_a_hundred_lines() {
    let wei = Console::with(Server::with().says(0));
    let mut ada = wei.talking_with("Ada");
    wei.press("half a sen");
    wei.wait_for("you: half a sen", "he types");
    let wanted: Vec<String> = (0..MANY).map(|n| format!("Ada: line {n}")).collect();
    for n in 0..MANY {
        ada.say(&format!("line {n}"));
    }
    wei.wait_for(&format!("Ada: line {}\nyou: half a sen", MANY - 1), "all came, above the draft");
    assert_eq!(lines_of(&wei, "Ada:"), wanted, "each once, in order");
    assert_eq!(lines_of(&wei, "you:"), ["you: half a sen"]);
    wei.type_line("tence");
    let said = ada.expect("his line", |message| match message {
        Message::Said(said) if said.text.as_str().starts_with("half") => Some(said.clone()),
        _ => None,
    });
    assert_eq!(said.text.as_str(), "half a sentence");
}

#[test]
fn n16_a_draft_of_wide_characters_over_several_rows_survives() {
    let server = unhurried();
    let mut operator = Peer::operator(server.address(), "Wei");
    let call = Client::call(server.address()).name("小文");
    let caller = Screen::client(&call).size(12, 31).start();
    operator.expect_connected();
    answered(&caller, "Wei");
    // 60 characters of two columns: five rows of 31 columns, each with a column left over.
    let draft: String = "我睡不着想找个人说说话可以吗".chars().cycle().take(60).collect();
    caller.press(&draft);
    let unwrapped = |seen: &str| seen.replace('\n', "");
    caller.wait_until("the draft stands", |seen| {
        unwrapped(seen).ends_with(&format!("you: {draft}")).then_some(())
    });
    for n in 0..MANY {
        operator.say(&format!("line {n}"));
    }
    caller.wait_until("the draft stands below all lines", |seen| {
        let wanted = format!("Wei: line {}you: {draft}", MANY - 1);
        unwrapped(seen).ends_with(&wanted).then_some(())
    });
    let wanted: Vec<String> = (0..MANY).map(|n| format!("Wei: line {n}")).collect();
    assert_eq!(lines_of(&caller, "Wei: line"), wanted, "each once, in order");
    caller.press(keys::ENTER);
    let said = operator.expect("her line", |message| match message {
        Message::Said(said) if said.text.as_str().starts_with('我') => Some(said.clone()),
        _ => None,
    });
    assert_eq!(said.text.as_str(), draft);
}

#[test]
fn n17_what_the_operator_says_first_is_shown_without_a_key() {
    let wei = Console::with(Server::with().greeting("Welcome.\nYou may say anything."));
    let ada = calls(wei.address, "Ada");
    soon(&ada, "-- Welcome.\n-- You may say anything.\n", "the greeting comes by itself");
    wei.wait_for("-- on the line with Ada", "she is there");
    wei.type_line("Hello, I am Wei.");
    soon(&ada, "wei: Hello, I am Wei.\n", "and so does what he says");
    stands(&ada, "you:", "she has typed nothing");
}

#[test]
fn a_paste_of_several_lines_is_one_message() {
    let wei = Console::start();
    let mut peer = wei.talking_with("Peer");
    wei.press("\x1b[200~first\nsecond\n\nfourth\x1b[201~");
    wei.wait_for("fourth", "it is a draft until Enter");
    wei.press(keys::ENTER);
    assert_eq!(peer.expect_said().text.as_str(), "first\nsecond\n\nfourth");
    wei.wait_for("you: first\n  second\n\n  fourth\nyou:", "further lines are indented");
    peer.say("one\ntwo");
    wei.wait_for("Peer: one\n  two\n", "of others too");
}

#[test]
fn commands_with_a_slash_are_told_apart_from_text() {
    let server = Server::start();
    let (ada, mut operator) = caller_and_peer(&server, "Ada");
    ada.type_line("/help");
    ada.wait_for("-- bye ", "the commands are listed");
    ada.wait_for("-- /say TEXT", "the commands are listed");
    assert!(!ada.text().contains("/next"), "callers have no such command");
    for unknown in ["/next", "/quit", "/etc/passwd is gone", "/"] {
        ada.type_line(unknown);
        let command = unknown.split(' ').next().unwrap();
        ada.wait_for(
            &format!("-- {command} is no command here, and nothing was said"),
            "it says so",
        );
    }
    ada.type_line("/say");
    ada.wait_for("-- /say TEXT says the text as it is", "the text is missing");
    ada.type_line("/say /etc/passwd is gone");
    let said = operator.expect_said();
    assert_eq!(said.text.as_str(), "/etc/passwd is gone", "nothing else was said before");
    ada.wait_for("you: /etc/passwd is gone\n", "she sees it as it was said");
}

#[test]
fn n02_a_text_that_is_too_long_is_refused_before_it_is_sent() {
    let server = Server::start();
    let mut operator = Peer::operator(server.address(), "Wei");
    let call = Client::call(server.address()).name("Ada");
    let ada = Screen::client(&call).size(24, 250).start();
    operator.expect_connected();
    answered(&ada, "Wei");
    // As a paste: a terminal draws a draft of this size again for every single key.
    let paste = |text: &str| ada.press(&format!("\x1b[200~{text}\x1b[201~{}", keys::ENTER));
    let most = "é".repeat(8 * 1024);
    paste(&format!("{most}x"));
    let refused = "-- not said: a text has at most 16384 bytes; this one has 16385";
    ada.wait_for(refused, "it has 16 KiB and one byte");
    paste(&most);
    assert_eq!(operator.expect_said().text.as_str(), most, "16 KiB are one message");
    assert_eq!(operator.heard().len(), 1, "nothing was sent of the other");
}

#[test]
fn what_is_typed_can_be_brought_back() {
    let wei = Console::start();
    let mut peer = wei.talking_with("Peer");
    wei.type_line("again");
    assert_eq!(peer.expect_said().text.as_str(), "again");
    wei.press(keys::UP);
    wei.wait_until("the line is back", |seen| seen.ends_with("\nyou: again").then_some(()));
    wei.type_line(" and again");
    assert_eq!(peer.expect_said().text.as_str(), "again and again");
}
