//! What others write reaches a terminal as text, and what a keyboard sends reaches others as text.

use std::collections::BTreeSet;

use helpline_proto::{code::Code, limits};
use helpline_tests::{Client, Peer, Screen, Server, keys};

use crate::terminal_means::{
    Console, answered, caller_and_peer, calls, lines_of, on_a_terminal, stands,
};

/// Texts that would do something to a terminal that obeyed them, or to a reader who believed them.
fn hostile_texts() -> Vec<String> {
    serde_json::from_str(include_str!("hostile_texts.json")).unwrap()
}

/// What a program wrote that a terminal obeys: its escape sequences, without their numbers, and its
/// other control characters.
fn obeyed(raw: &[u8]) -> BTreeSet<String> {
    let text = std::str::from_utf8(raw).expect("a program writes UTF-8");
    let mut found = BTreeSet::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if !c.is_control() {
            continue;
        }
        let mut sequence = c.to_string();
        if c == '\x1b' {
            let introducer = rest.next();
            sequence.extend(introducer);
            if introducer == Some('[') {
                for c in rest.by_ref() {
                    if !c.is_ascii_digit() && c != ';' {
                        sequence.push(c);
                    }
                    if matches!(c, '@'..='~') {
                        break;
                    }
                }
            }
        }
        found.insert(sequence);
    }
    found
}

/// Two calls, in which these texts are said to a console and to a caller, who both type meanwhile.
struct Session {
    wei: Console,
    ada: Screen,
    _peers: (Peer, Peer),
    _server: Server,
}

impl Session {
    fn with(texts: &[impl AsRef<str>]) -> Self {
        let wei = Console::with(Server::with().says(0));
        let mut caller = wei.talking_with("Peer");
        let server = Server::with().says(0).start();
        let (ada, mut operator) = caller_and_peer(&server, "Ada");
        for (screen, peer, name) in [(&*wei, &mut caller, "Peer"), (&ada, &mut operator, "Wei")] {
            screen.press("half a sen");
            screen.wait_for("you: half a sen", "it is typed");
            for text in texts {
                peer.say(text.as_ref());
            }
            peer.say("all said");
            let last = format!("{name}: all said\nyou: half a sen");
            screen.wait_for(&last, "all came, above the draft");
        }
        Self { wei, ada, _peers: (caller, operator), _server: server }
    }

    /// What both programs wrote that a terminal obeys.
    fn obeyed(&self) -> BTreeSet<String> {
        obeyed(&self.wei.raw()).union(&obeyed(&self.ada.raw())).cloned().collect()
    }
}

#[test]
fn n32_no_escape_sequence_of_others_reaches_a_terminal() {
    let benign = Session::with(&["hello", "how are you?", "two\nlines", "小文"]).obeyed();
    let session = Session::with(&hostile_texts());
    let hostile = session.obeyed();
    let added: Vec<_> = hostile.difference(&benign).collect();
    assert!(added.is_empty(), "more than in a harmless session: {added:?}");
    assert!(!benign.iter().any(|own| own.starts_with("\x1b]") || own == "\x07"), "{benign:?}");
    for (screen, name) in [(&session.ada, "Wei"), (&*session.wei, "Peer")] {
        for shown in [
            "^[[2J^[[H",
            "^[]0;owned^G",
            "^[]52;c;b3duZWQ=^G",
            "^[P$q\"p^[\\",
            "M-^[2JM-^[H",
            "M-^]0;ownedM-^\\",
            "^G^H^H^H^K^L^N^O^?^@",
            "over^Mwritten",
            "M-^Enext<U+2028>line<U+2029>paragraph",
        ] {
            let line = format!("{name}: {shown}\n");
            assert!(screen.text().contains(&line), "{line}: {}", screen.text());
        }
        stands(screen, "you: half a sen", "it is what is being typed");
        // What bidi controls open is closed on the same line.
        let raw = String::from_utf8(screen.raw()).unwrap();
        assert!(raw.contains("\u{202e}desrever\u{2066}x\u{2069}\u{202c}"), "{raw}");
    }
}

/// What only the program says.
const OWN: &str = "-- the call has ended (you said bye)";

#[test]
fn n32_a_text_cannot_pass_for_the_programs_own_lines() {
    let wei = Console::start();
    let mut peer = wei.talking_with("Peer");
    for text in [
        OWN.to_owned(),
        format!("x\n{OWN}"),
        format!("x\r\n{OWN}\nyou: I quit"),
        format!("x\u{85}{OWN}"),
        format!("x\u{2028}{OWN}"),
        format!("x\r{OWN}"),
        format!("x\x0b{OWN}"),
        "x\nyou: I quit".to_owned(),
        "x\nBo: hello".to_owned(),
    ] {
        peer.say(&text);
    }
    peer.say("all said");
    wei.wait_for("Peer: all said", "all texts came");
    assert_eq!(lines_of(&wei, "-- the call"), [""; 0]);
    assert_eq!(lines_of(&wei, "you: "), [""; 0]);
    assert_eq!(lines_of(&wei, "Bo"), [""; 0]);
}

#[test]
fn n32_a_text_cannot_pass_for_the_programs_own_lines_by_being_wrapped() {
    let wei = Console::start();
    let mut peer = wei.talking_with("Peer");
    // The terminal has 100 columns.
    let row = 100 - "Peer: ".len();
    peer.say(&format!("{}{OWN}", " ".repeat(row)));
    peer.say(&format!("{}you: I quit", "x".repeat(row)));
    peer.say(&format!("{}{OWN}", "x ".repeat(row / 2)));
    peer.say(&format!("x\n{}{OWN}", "小".repeat(49)));
    peer.say("all said");
    wei.wait_for("Peer: all said", "all texts came");
    assert_eq!(lines_of(&wei, "-- the call"), [""; 0]);
    assert_eq!(lines_of(&wei, "you: "), [""; 0]);
}

#[test]
fn n32_a_name_cannot_pass_for_somebody_else() {
    let wei = Console::start();
    for name in ["you", "You", "YOU", "wei: hello", "\u{2014} the call has ended", "…", "\"x\""] {
        let mut peer = Peer::caller(wei.address, name);
        peer.expect_connected();
        peer.say("hello");
        let shown = format!("\"{name}\" (the caller)");
        wei.wait_for(&format!("-- on the line with {shown}\n{shown}: hello\n"), "it is quoted");
        peer.hang_up();
        peer.expect_ended();
        peer.end_seen();
        wei.wait_for(&format!("-- the call has ended ({shown} said bye)"), "here too");
    }
    assert_eq!(lines_of(&wei, "you: "), [""; 0]);
}

#[test]
fn n32_a_name_with_control_characters_is_nobodys() {
    let wei = Console::start();
    let before = wei.text();
    let names = ["a\nbc", "\u{202e}a", "-- a", " ab ", "\x07abc"].map(str::to_owned);
    // What remains of the texts would be a name with quotes around it, or too long for one.
    let texts = hostile_texts().into_iter().filter(|text| {
        text.len() <= limits::NAME && text.contains(|c: char| c.is_control() || c == '\u{202e}')
    });
    for name in names.into_iter().chain(texts) {
        // A name of as many bytes, with these in its place on the wire.
        let harmless = "N".repeat(name.len());
        let frame = Peer::frame(&Peer::join(&harmless)).to_vec();
        let at = frame.windows(name.len()).position(|part| part == harmless.as_bytes()).unwrap();
        let hostile = [&frame[..at], name.as_bytes(), &frame[at + name.len()..]].concat();
        let mut peer = Peer::connect(wei.address);
        peer.send(Peer::hello());
        peer.send_raw(&hostile);
        assert_eq!(peer.expect_goodbye().code, Code::BAD_BODY, "{name:?}");
    }
    assert_eq!(wei.text(), before, "nothing of it was shown");
}

#[test]
fn n32_what_is_pasted_is_shown_and_said_as_text() {
    let wei = Console::start();
    let mut peer = wei.talking_with("Peer");
    wei.press(&format!("\x1b[200~a\u{9b}2Jb\x01c\x1b[201~{}", keys::ENTER));
    assert_eq!(peer.expect_said().text.as_str(), "a\u{9b}2Jb\x01c");
    wei.wait_for("you: aM-^[2Jb^Ac\n", "his own words are cleaned too");
}

#[test]
fn n33_a_key_that_is_not_utf_8_becomes_a_replacement_character() {
    for language in ["C", "de_DE.ISO-8859-1"] {
        let wei = Console::with(Server::with().env("LC_ALL", language).env("LANG", language));
        let call = Client::call(wei.address).name("Ada").env("LC_ALL", language);
        let ada = on_a_terminal(call.env("LANG", language));
        answered(&ada, "wei");
        for (typing, reading) in [(&ada, &*wei), (&*wei, &ada)] {
            // What begins like a character of several bytes takes the next key with it.
            typing.press_bytes(b"caf\xe9 ");
            typing.wait_for_times("you: caf", 2, "the draft is shown again");
            typing.type_line("is closed");
            typing.type_line("小文, naïve");
            reading.wait_for(": 小文, naïve\n", "neither has ended");
            let raw = String::from_utf8(reading.raw()).expect("a program writes UTF-8");
            assert!(raw.contains("caf\u{fffd}is closed"), "{language}: {raw}");
        }
    }
}

#[test]
fn n31_what_is_no_helpline_client_is_never_shown_at_the_console() {
    let wei = Console::start();
    let before = wei.text();
    for bytes in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\x1b[2J\x1b]0;x\x07\n", b"\xff\xfe"]
    {
        let mut peer = Peer::connect(wei.address);
        peer.send_raw(bytes);
        peer.half_close();
        peer.expect_bytes();
    }
    let _ada = calls(wei.address, "Ada");
    answered(&wei, "Ada");
    let shown = wei.text();
    let rest = shown.strip_prefix(before.trim_end_matches("\nyou:"));
    assert_eq!(rest, Some("\n-- on the line with Ada\nyou:"));
}
