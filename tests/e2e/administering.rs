//! Who belongs: accounts, invitations, bans and the audit, as those who run a line see to them.

use std::time::{Duration, Instant};

use helpline_proto::{
    code::Code,
    ids::Answering,
    message::{Message, SignOn},
    text::{Name, Secret},
};
use helpline_tests::{Client, Peer, Server, wait_within};
use serde_json::{Value, json};

/// What a command prints, which has to succeed.
fn prints(server: &Server, args: &[&str]) -> String {
    let done = server.also(args);
    assert_eq!(done.code, 0, "{args:?}: {}", done.stderr);
    done.stdout
}

fn lines(server: &Server, args: &[&str]) -> Vec<Value> {
    prints(server, args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A token, alone on standard output.
fn token(printed: &str) -> String {
    let token = printed.strip_suffix('\n').unwrap();
    assert!(token.len() == 64 && token.bytes().all(|digit| digit.is_ascii_hexdigit()), "{printed}");
    token.to_owned()
}

fn desk(server: &Server, name: &str, token: &str) -> helpline_tests::ClientSetup {
    Client::desk(server.address()).name(name).args(["--auto"]).env("HELPLINE_TOKEN", token)
}

/// The rows of a list as words with one space between, and what differs from run to run hidden.
fn rows(list: &str) -> Vec<String> {
    let words = |line: &str| {
        let words = line.split_whitespace().map(|word| match word.as_bytes() {
            [b'2', _, _, _, b'-', _, _, b'-', _, _] => "DAY",
            [_, _, b':', _, _, b':', _, _, b'Z'] => "TIME",
            _ => word,
        });
        words.collect::<Vec<_>>().join(" ")
    };
    list.lines().map(words).collect()
}

#[test]
fn n38_only_those_who_were_named_answer() {
    let mut server = Server::start();
    server.stop();
    // Without a server, and beside one.
    let wei = token(&prints(&server, &["operator", "add", "Wei"]));
    let server = server.again().start();
    let li = token(&prints(&server, &["operator", "add", "Li", "--supervisor"]));
    let mut desks = [("Wei", &wei), ("Li", &li)].map(|(name, token)| {
        let desk = desk(&server, name, token).start();
        desk.wait_for_stderr(&format!("-- signed on to line main as {name}"));
        desk
    });
    let list = prints(&server, &["operator", "list"]);
    assert_eq!(
        rows(&list),
        ["NAME ROLE STATE MADE", "Li supervisor active DAY TIME", "Wei operator active DAY TIME"]
    );
    // Two operators, and two callers: neither is given to both.
    let mut callers = ["Ada", "Bo"].map(|name| Peer::caller(server.address(), name));
    let mut peers = callers.each_mut().map(|caller| caller.expect_connected().peer.to_string());
    peers.sort();
    assert_eq!(peers, ["Li", "Wei"]);

    for (name, token) in [("Wei", &li), ("Eve", &wei), ("wei", &wei)] {
        let refused = desk(&server, name, token).run();
        assert_eq!(refused.code, 77, "{name}: {}", refused.stderr);
    }
    let begun = Instant::now();
    let said = server.also(&["operator", "disable", "Wei"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, ""));
    let cut = desks[0].wait_within(Duration::from_secs(20));
    println!("cut after {:?}", begun.elapsed());
    assert_eq!(cut.code, 77, "{}", cut.stderr);
    assert!(cut.stderr.contains("disabled"), "{}", cut.stderr);
    assert_eq!(desk(&server, "Wei", &wei).run().code, 77);
    // The caller waits again, and everybody else goes on.
    let waits = callers.iter_mut().position(|caller| {
        caller.settle();
        caller.pending().any(|message| matches!(message, Message::Place(_)))
    });
    assert!(waits.is_some(), "somebody is put back");

    let new = token(&prints(&server, &["operator", "rotate", "Wei"]));
    assert_ne!(new, wei);
    assert_eq!(desk(&server, "Wei", &wei).run().code, 77, "the old one is worth nothing");
    let again = desk(&server, "Wei", &new).start();
    again.wait_for_stderr("-- signed on");
    assert_eq!(server.also(&["operator", "remove", "Li"]).code, 0);
    assert_eq!(desks[1].wait_within(Duration::from_secs(20)).code, 77);
    let list = prints(&server, &["operator", "list", "--json"]);
    let names: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (names.len(), &names[0]["name"], &names[0]["state"]),
        (1, &json!("Wei"), &json!("active"))
    );
}

#[test]
fn a_server_that_starts_sends_away_who_was_disabled_meanwhile() {
    let mut server = Server::start();
    let mut wei = Peer::operator(server.address(), "Wei");
    let mut ada = Peer::caller(server.address(), "Ada");
    ada.expect_connected();
    server.crash();
    prints(&server, &["operator", "disable", "Wei"]);
    let _server = server.again().start();
    ada.come_back();
    ada.expect_place();
    wei.ask_to_come_back();
    assert_eq!(wei.expect_goodbye().code, Code::NO_SUCH_TICKET);
}

#[test]
fn an_unknown_name_a_wrong_token_and_none_have_the_same_answer() {
    let server = Server::start();
    drop(Peer::operator(server.address(), "Wei"));
    let answers = [("Wei", Some("0")), ("Eve", Some("0")), ("Wei", None), ("Eve", None)].map(
        |(name, token)| {
            let mut peer = Peer::welcomed(server.address());
            let token = token.map(|token| Secret::new(token.repeat(64).as_str()).unwrap());
            let (name, ticket) = (Name::new(name).unwrap(), helpline_proto::ids::Ticket([9; 32]));
            let sign_on: Message =
                SignOn { ticket, name, answering: Answering::ByHand, token }.into();
            peer.send_raw(&Peer::frame(&sign_on));
            peer.expect_goodbye()
        },
    );
    assert_eq!(answers[0].code, Code::NOT_RECOGNISED);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[test]
fn an_invitation_lets_one_caller_in_and_no_other() {
    let server = Server::with().args(["--invite-only"]).start();
    let call = |invitation: Option<&str>| {
        let call = Client::call(server.address());
        match invitation {
            Some(invitation) => call.env("HELPLINE_INVITE", invitation),
            None => call,
        }
    };
    let refused = call(None).run();
    assert_eq!(refused.code, 77, "{}", refused.stderr);
    assert!(refused.stderr.contains("--invite"), "{}", refused.stderr);
    assert_eq!(call(Some("0000-0000-0000-0000")).run().code, 77);

    let once = prints(&server, &["invite", "add"]);
    let mut first = call(Some(once.trim())).start();
    first.wait_for_stderr("-- position 1 of 1");
    assert_eq!(call(Some(once.trim())).run().code, 77, "used up");
    let mut desk = Client::desk(server.address()).name("Wei").json().start();
    desk.expect("welcome");
    desk.command(&json!({"kind": "invite", "ref": 5, "body": {"uses": "once", "until": null}}));
    let invited = desk.expect("invited");
    assert_eq!(invited.reference, 5);
    let second = call(invited.body["code"].as_str()).start();
    second.wait_for_stderr("-- position 2 of 2");
    // Back in, without another one.
    first.kill();
    let many = prints(&server, &["invite", "add", "--many", "--for", "1h"]);
    let until = prints(&server, &["invite", "add", "--until", "2099-12-31"]);
    for _ in 0..2 {
        let caller = call(Some(many.trim())).start();
        caller.wait_for_stderr("-- position");
    }
    let list = prints(&server, &["invite", "list"]);
    assert_eq!(
        rows(&list),
        [
            "NUMBER HOLDS BY MADE",
            "3 many until DAY TIME wei DAY TIME",
            "4 once until DAY TIME wei DAY TIME"
        ]
    );
    assert_eq!(server.also(&["invite", "remove", "4"]).code, 0);
    assert_eq!(server.also(&["invite", "remove", "4"]).code, 1);
    assert_eq!(call(Some(until.trim())).run().code, 77, "taken back");
    let kept = std::fs::read(server.data().join("helpline.db-wal")).unwrap();
    for secret in [&once, &many, &until] {
        let secret = secret.trim().as_bytes();
        assert!(!kept.windows(secret.len()).any(|window| window == secret), "it is kept as a hash");
    }
}

#[test]
fn a_ban_ends_calls_and_keeps_out_until_it_is_lifted() {
    let server = Server::start();
    // This machine's own addresses, said explicitly.
    let (mut ada, mut wei) = Peer::pair(server.address());
    let begun = Instant::now();
    let ban = ["ban", "add", "127.0.0.0/8", "--for", "1h", "--reason", "a \u{1b}[31mtest"];
    assert_eq!(prints(&server, &ban), "");
    ada.expect_ended();
    println!("ended after {:?}", begun.elapsed());
    assert_eq!(wei.expect_goodbye().code, Code::BANNED);
    let refused = Client::call(server.address()).run();
    assert_eq!(refused.code, 77, "{}", refused.stderr);
    assert!(refused.stderr.contains("try again in 60 minutes"), "{}", refused.stderr);
    let list = prints(&server, &["ban", "list"]);
    assert_eq!(rows(&list), ["NETWORK UNTIL BY REASON", "127.0.0.0/8 DAY TIME wei a ^[[31mtest"]);
    assert_eq!(server.also(&["ban", "lift", "127.0.0.1"]).code, 1, "another network");
    assert_eq!(prints(&server, &["ban", "lift", "127.0.0.0/8"]), "");
    wait_within(Duration::from_secs(20), "the ban is lifted", || {
        let mut caller = Peer::joining(server.address(), "Bo");
        matches!(
            caller.next_within(Duration::from_secs(5)),
            helpline_tests::Got::Message(_, Message::Welcome(_))
        )
        .then_some(())
    });
}

#[test]
fn the_audit_says_who_did_what() {
    let server = Server::start();
    let (mut ada, mut wei) = Peer::pair(server.address());
    ada.say("nobody else's business");
    wei.expect_said();
    let call = ada.call().to_hex();
    prints(&server, &["calls", "show", &call]);
    prints(&server, &["calls", "show", &call, "--json"]);
    assert_eq!(server.also(&["calls", "show", "ffff"]).code, 1);
    prints(&server, &["invite", "add"]);
    prints(&server, &["ban", "add", "192.0.2.7"]);
    prints(&server, &["ban", "lift", "192.0.2.7"]);
    let audit = lines(&server, &["audit", "--json"]);
    let told: Vec<_> = audit
        .iter()
        .skip_while(|line| line["did"] != "signed_on")
        .map(|line| {
            let [who, seat, did] = ["who", "seat", "did"].map(|key| line[key].as_str().unwrap());
            format!("{who} {seat} {did}")
        })
        .collect();
    assert_eq!(
        told,
        [
            "Wei desk signed_on",
            "wei command looked_at",
            "wei command exported",
            "wei command invited",
            "wei command banned",
            "wei command lifted",
        ]
    );
    let of_call = audit.iter().filter(|line| line["about"] == json!(call)).count();
    assert_eq!(of_call, 2);
    let text = prints(&server, &["audit"]);
    assert!(text.contains("Wei (desk) signed on from 127.0.0.1\n"), "{text}");
    assert!(!text.contains("business"), "{text}");
}

#[test]
fn old_calls_are_deleted_and_in_private_no_address_is_kept() {
    let mut server = Server::with().args(["--private"]).start();
    let canary = "a line that is gone tomorrow";
    let (mut ada, mut wei) = Peer::pair(server.address());
    ada.say(canary);
    wei.expect_said();
    ada.hang_up();
    for peer in [&mut ada, &mut wei] {
        peer.expect_ended();
        peer.end_seen();
    }
    ada.expect_over();
    let mut bo = Peer::caller(server.address(), "Bo");
    bo.expect_connected();
    bo.hang_up();
    bo.expect_ended();
    bo.end_seen();
    bo.expect_over();
    server.stop();
    // A day and a bit passes.
    let file = server.data().join("helpline.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    database
        .execute("UPDATE call SET closed_at = closed_at - 90000000 WHERE number = 1", [])
        .unwrap();
    // Somebody reads while it is deleted, which keeps it in the files for as long.
    database.execute_batch("BEGIN; SELECT count(*) FROM call;").unwrap();
    let server = server.again().start();
    wait_within(Duration::from_secs(60), "the old call is deleted", || {
        (server.calls().len() == 1).then_some(())
    });
    drop(database);
    wait_within(Duration::from_secs(60), "no file has it", || {
        let files = std::fs::read_dir(server.data()).unwrap();
        let has_it = files.into_iter().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(canary.len()).any(|window| window == canary.as_bytes())
        });
        (!has_it).then_some(())
    });
    let audit = prints(&server, &["audit"]);
    assert!(audit.contains("Wei (desk) signed on\n") && !audit.contains("127.0.0.1"), "{audit}");
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let server = Server::start();
    for (args, code, said) in [
        (&["operator", "add", ""][..], 64, "it is empty"),
        (&["operator", "add", "--", "-x"], 64, "begins with '-'"),
        (&["operator", "disable", "Nobody"], 1, "there is no account Nobody"),
        (&["operator", "remove", "Nobody"], 1, "there is no account Nobody"),
        (&["operator", "rotate", "Nobody"], 1, "there is no account Nobody"),
        (&["ban", "add", "nowhere"], 64, "is no address and no network"),
        (&["ban", "add", "192.0.2.7", "--for", "0s"], 64, "a duration such as"),
        (&["ban", "add", "192.0.2.7", "--for", "999999999d"], 64, "a duration such as"),
        (&["invite", "add", "--many"], 64, "--for"),
        (&["invite", "add", "--until", "2001-01-01"], 64, "over already"),
        (&["invite", "add", "--until", "tomorrow"], 64, "a day such as"),
        (&["invite", "remove", "7"], 1, "there is no invitation 7"),
    ] {
        let refused = server.also(args);
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (code, ""),
            "{args:?}: {}",
            refused.stderr
        );
        assert!(refused.stderr.contains(said), "{args:?}: {}", refused.stderr);
    }
    prints(&server, &["operator", "add", "Wei"]);
    let twice = server.also(&["operator", "add", "Wei"]);
    assert_eq!((twice.code, twice.stdout.as_str()), (1, ""));
    assert!(twice.stderr.contains("operator rotate"), "{}", twice.stderr);
}
