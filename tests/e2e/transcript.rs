//! A session in two terminals, as it is quoted where people first hear of Helpline.
//!
//! `cargo test -p helpline-tests --test e2e transcript -- --nocapture` prints it.

use std::net::TcpListener;

use helpline_tests::{Client, Home, Peer, Screen, Server};

use crate::terminal_means::{Console, answered};

const ROWS: u16 = 24;
/// Wide enough for the longest line on either screen.
const WEI: u16 = 72;
const XIAOWEN: u16 = 48;

/// Where the server listens: where it does by default, if nobody else does.
fn listen() -> &'static str {
    const USUAL: &str = "127.0.0.1:8001";
    if TcpListener::bind(USUAL).is_ok() { USUAL } else { "127.0.0.1:0" }
}

/// Two screens side by side, each as wide as what stands on it.
fn side_by_side(left: &Screen, right: &Screen) -> String {
    let (left, right) = (left.text(), right.text());
    let (left, right): (Vec<&str>, Vec<&str>) = (left.lines().collect(), right.lines().collect());
    let width = left.iter().map(|line| line.chars().count()).max().unwrap_or_default();
    let rows = (0..left.len().max(right.len())).map(|row| {
        let cell = |lines: &[&str]| lines.get(row).copied().unwrap_or_default().to_owned();
        format!("{:width$} | {}", cell(&left), cell(&right)).trim_end().to_owned() + "\n"
    });
    rows.collect()
}

/// Waits until exactly these lines stand on a screen.
fn shows(screen: &Screen, lines: &[&str]) {
    screen.wait_until(&format!("exactly {lines:#?}"), |seen| {
        seen.lines().eq(lines.iter().copied()).then_some(())
    });
}

#[test]
fn a_session_in_two_terminals() {
    let home = Home::new();
    let data = home.path().join(".local").join("share");
    let setup = Server::with()
        .listen(listen())
        .greeting("Welcome. You are talking to a person.")
        .home(&home)
        .env("XDG_DATA_HOME", data.to_str().unwrap());
    // He has opened the line before: its key is made.
    drop(setup.clone().start());
    let wei = Console::on(Screen::server(setup).size(ROWS, WEI).start());
    let call = Client::call(wei.address).name("Xiaowen");
    let xiaowen = Screen::client(&call).size(ROWS, XIAOWEN).start();
    answered(&xiaowen, "wei");
    wei.wait_for("-- on the line with Xiaowen", "he is told");
    let mut ming = Peer::caller(wei.address, "Ming");
    ming.expect_place();
    ming.say("I'll wait, no hurry");

    xiaowen.type_line("Hello, is somebody there?");
    wei.wait_for("Xiaowen: Hello, is somebody there?", "he reads it");
    wei.type_line("Yes, I am here.");
    xiaowen.wait_for("wei: Yes, I am here.", "she reads it");
    // Both type at once.
    wei.press("Take your ti");
    wei.wait_for("you: Take your ti", "he types");
    xiaowen.type_line("I can't sleep.");
    wei.wait_for("Xiaowen: I can't sleep.\nyou: Take your ti", "she does, too");
    xiaowen.press("It began wh");
    xiaowen.wait_for("you: It began wh", "she types on");
    let both_type = side_by_side(&wei, &xiaowen);
    wei.type_line("me.");
    xiaowen.wait_for("wei: Take your time.\nyou: It began wh", "it comes above what she types");
    xiaowen.type_line("en I moved here.");
    wei.wait_for("Xiaowen: It began when I moved here.", "whole");
    wei.type_line("Then you have found it out yourself.");
    xiaowen.wait_for("wei: Then you have found it out yourself.", "she reads it");
    xiaowen.type_line("Thank you. Good night.");
    wei.wait_for("Xiaowen: Thank you. Good night.", "he reads it");
    xiaowen.type_line("bye");
    xiaowen.wait_for("-- the call has ended (you said bye)", "she is told");
    assert_eq!(xiaowen.exit_code(), 0);
    ming.expect_connected();
    let address = wei.address;
    let dial = both_type.lines().find(|line| line.starts_with("from a second terminal"));
    let dial = dial.and_then(|line| line.split(" | ").next()).unwrap_or_default().trim_end();
    assert!(dial.starts_with("from a second terminal: helpline call 127.0.0.1"), "{dial}");
    shows(
        &wei,
        &[
            &format!("listening on {address}"),
            "you answer as wei; calls are kept in ~/.local/share/helpline/server",
            dial,
            "-- callers are connected one after another; /help lists the commands",
            "-- on the line with Xiaowen",
            "Xiaowen: Hello, is somebody there?",
            "you: Yes, I am here.",
            "Xiaowen: I can't sleep.",
            "you: Take your time.",
            "Xiaowen: It began when I moved here.",
            "you: Then you have found it out yourself.",
            "Xiaowen: Thank you. Good night.",
            "Xiaowen: bye",
            "-- the call has ended (Xiaowen said bye)",
            "-- on the line with Ming",
            "Ming: I'll wait, no hurry",
            "you:",
        ],
    );
    shows(
        &xiaowen,
        &[
            &format!("-- connecting to {address}"),
            "-- Welcome. You are talking to a person.",
            "-- on the line with wei",
            "you: Hello, is somebody there?",
            "wei: Yes, I am here.",
            "you: I can't sleep.",
            "wei: Take your time.",
            "you: It began when I moved here.",
            "wei: Then you have found it out yourself.",
            "you: Thank you. Good night.",
            "you: bye",
            "-- the call has ended (you said bye)",
        ],
    );
    let at_the_end = side_by_side(&wei, &xiaowen);
    println!("$ helpline-server --greeting …   |   $ helpline call 127.0.0.1 --name Xiaowen\n");
    println!("while both type:\n\n{both_type}\nat the end:\n\n{at_the_end}");
}
