//! The programs between pipes: connections break, servers and programs end, and everything is said once.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use helpline_proto::message::Message;
use helpline_tests::{Client, ClientSetup, Event, Home, PATIENCE, Peer, Server, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Two programs in a call with each other.
fn json_pair(server: &Server) -> (Client, Client) {
    let mut wei = Client::desk(server.address()).name("Wei").args(["--auto"]).json().start();
    wei.expect("welcome");
    let mut ada = Client::call(server.address()).name("Ada").json().start();
    ada.expect("connected");
    wei.expect("connected");
    (ada, wei)
}

/// What was said, as a program printed it, with the number of each.
fn said(client: &Client) -> Vec<(u64, String)> {
    let events = client.events().into_iter().filter(|event| event.kind == "said");
    events
        .map(|event| {
            let text = event.body["text"].as_str().unwrap().to_owned();
            (event.body["seq"].as_u64().unwrap(), text)
        })
        .collect()
}

fn texts(client: &Client) -> Vec<String> {
    said(client).into_iter().map(|(_, text)| text).collect()
}

/// Waits until a program has printed this text as said.
fn expect_text(client: &mut Client, text: &str) -> Event {
    client.expect_within(PATIENCE, "said", |event| event.body["text"] == text)
}

/// The numbers of the entries a program printed: each once, from 1, without gaps.
fn is_complete(client: &Client) {
    let numbers: Vec<u64> =
        client.events().iter().filter_map(|event| event.body["seq"].as_u64()).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len().try_into().unwrap()), "{numbers:?}");
}

/// A caller's program of this home between pipes, on the line with an operator on a wire.
fn in_a_call(server: &Server, home: &Home, operator: &mut Peer) -> Client {
    let ada = Client::call(server.address()).name("Ada").home(home).start();
    operator.expect_connected();
    ada.wait_for_stderr("-- on the line with Wei");
    ada
}

fn resumes(server: &Server, home: &Home) -> ClientSetup {
    Client::call(server.address()).home(home).args(["--resume"])
}

/// The modes of a file, and of the directory it is in.
fn modes(file: &Path) -> (u32, u32) {
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    (mode(file), mode(file.parent().unwrap()))
}

#[test]
fn n13_a_call_between_programs_goes_on_when_the_server_is_killed() {
    let mut server = Server::start();
    let (mut ada, mut wei) = json_pair(&server);
    let mut wanted = Vec::new();
    for round in 0..3 {
        let (question, answer) = (format!("question {round}"), format!("answer {round}"));
        ada.type_line(&question);
        expect_text(&mut wei, &question);
        server.crash();
        for client in [&mut ada, &mut wei] {
            client.expect("link.reconnecting");
        }
        // Said while there is no server, and in this order.
        for text in [format!("{round}: still"), format!("{round}: there?")] {
            ada.type_line(&text);
            wanted.push(text);
        }
        wanted.insert(wanted.len() - 2, question);
        let begun = Instant::now();
        server = server.again().start();
        for client in [&mut ada, &mut wei] {
            client.expect("link.resumed");
        }
        let took = begun.elapsed();
        println!("both are back {took:?} after the server was started");
        assert!(took < Duration::from_secs(30), "{took:?}");
        expect_text(&mut wei, wanted.last().unwrap());
        wei.type_line(&answer);
        expect_text(&mut ada, &answer);
        wanted.push(answer);
    }
    ada.type_line("bye");
    wanted.push("bye".into());
    assert_eq!(ada.wait().code, 0);
    wei.expect("ended");
    for client in [&ada, &wei] {
        assert_eq!(texts(client), wanted, "nothing is lost, nothing is doubled");
        is_complete(client);
        let lost = client
            .events()
            .into_iter()
            .filter(|event| ["link.lost", "link.not_said", "error"].contains(&event.kind.as_str()));
        assert_eq!(lost.count(), 0);
    }
    assert_eq!(said(&ada), said(&wei));
}

#[test]
fn n27_a_server_that_is_stopped_and_started_again_keeps_everybody() {
    let mut server = Server::with().drain(0).start();
    let (mut ada, mut wei) = json_pair(&server);
    let mut bo = Client::call(server.address()).name("Bo").json().start();
    bo.expect("place");
    bo.type_line("I can wait");
    expect_text(&mut bo, "I can wait");
    for _ in 0..2 {
        assert_eq!(server.stop().code, 0);
        for client in [&mut ada, &mut wei, &mut bo] {
            client.expect("link.reconnecting");
        }
        server = server.again().start();
        for client in [&mut ada, &mut wei, &mut bo] {
            client.expect("link.resumed");
        }
    }
    ada.type_line("thank you");
    expect_text(&mut wei, "thank you");
    ada.type_line("bye");
    assert_eq!(ada.wait().code, 0);
    let connected = wei.expect("connected");
    assert_eq!(connected.body["peer"], "Bo");
    expect_text(&mut wei, "I can wait");
    bo.expect("connected");
    is_complete(&ada);
    bo.type_line("bye");
    assert_eq!(bo.wait().code, 0);
    is_complete(&bo);
}

#[test]
fn a_killed_caller_goes_on_with_resume_and_unsaid_lines_are_said_once() {
    let mut server = Server::start();
    let home = Home::new();
    let mut operator = Peer::operator(server.address(), "Wei");
    let mut ada = in_a_call(&server, &home, &mut operator);
    ada.type_line("one");
    operator.expect_text("one");
    operator.say("two");
    ada.wait_for_line("Wei: two");
    // There is no server for now: these are written down here, and nowhere else.
    server.crash();
    ada.wait_for_stderr("reconnecting");
    for text in ["three", "four", "five"] {
        ada.type_line(text);
    }
    let file = wait_until("the lines are written down", || {
        let [file] = &home.unfinished()[..] else { return None };
        let text = std::fs::read_to_string(file).unwrap();
        text.contains("five").then(|| file.clone())
    });
    assert_eq!(modes(&file), (0o600, 0o700));
    ada.kill();
    let server = server.again().start();
    operator.come_back();
    operator.say("are you still there?");
    operator.expect_text("are you still there?");

    let mut again = resumes(&server, &home).start();
    operator.expect_back();
    operator.expect_text("five");
    again.wait_for_stderr("earlier in this call");
    again.wait_for_line("Wei: are you still there?");
    again.type_line("six");
    operator.expect_text("six");
    operator.hang_up();
    let ended = again.wait();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let shown: Vec<&str> = ended.stdout.lines().collect();
    for line in ["Wei: two", "Wei: are you still there?"] {
        assert_eq!(shown.iter().filter(|shown| **shown == line).count(), 1, "{shown:?}");
    }
    let wanted = ["one", "two", "are you still there?", "three", "four", "five", "six"];
    assert_eq!(operator.heard(), wanted, "each once, in order");
    assert_eq!(home.unfinished().len(), 0, "no file is left of a call that is over");
}

#[test]
fn what_a_resumed_program_prints_as_json_is_the_whole_call() {
    let server = Server::start();
    let home = Home::new();
    let mut operator = Peer::operator(server.address(), "Wei");
    let mut ada = Client::call(server.address()).name("Ada").home(&home).json().start();
    ada.expect("connected");
    operator.expect_connected();
    ada.type_line("one");
    operator.expect_text("one");
    operator.say("two");
    expect_text(&mut ada, "two");
    ada.kill();
    operator.expect_away();
    let mut again = resumes(&server, &home).json().start();
    let welcome = again.expect("welcome");
    assert_eq!(welcome.body["name"], "Ada", "the name is the one of before");
    assert_eq!(again.expect("link.resumed").body, json!({"unsaid": 0, "attempt": 0}));
    again.type_line("three");
    expect_text(&mut again, "three");
    again.type_line("bye");
    assert_eq!(again.wait().code, 0);
    assert_eq!(texts(&again), ["one", "two", "three", "bye"]);
    is_complete(&again);
}

#[test]
fn an_unfinished_call_is_named_between_pipes_and_left_alone() {
    let server = Server::start();
    let home = Home::new();
    let mut operator = Peer::operator(server.address(), "Wei");
    let mut ada = in_a_call(&server, &home, &mut operator);
    ada.kill();
    operator.expect_away();
    let first = operator.call();
    let mut other = Client::call(server.address()).name("Ada").home(&home).start();
    let named = other.wait_for_stderr("an unfinished call to");
    assert!(named.contains("--resume takes it up"), "{named}");
    other.wait_for_stderr("-- position 1 of 1");
    other.type_line("bye");
    assert_eq!(other.wait().code, 130);
    // The unfinished one is as it was.
    let mut again = resumes(&server, &home).start();
    assert_eq!(operator.expect_back().call, first);
    again.type_line("here I am");
    operator.expect_text("here I am");
    again.type_line("bye");
    assert_eq!(again.wait().code, 0);
    let nothing = resumes(&server, &home).run();
    assert_eq!(nothing.code, 1);
    assert!(nothing.stderr.contains("no unfinished call"), "{}", nothing.stderr);
}

#[test]
fn a_call_that_another_program_still_has_is_not_taken_from_it() {
    let server = Server::start();
    let home = Home::new();
    let mut operator = Peer::operator(server.address(), "Wei");
    let mut ada = in_a_call(&server, &home, &mut operator);
    let refused = resumes(&server, &home).run();
    assert_eq!(refused.code, 1, "{refused:?}");
    let second = Client::call(server.address()).name("Bo").home(&home).start();
    second.wait_for_stderr("-- position 1 of 1");
    assert!(!second.stderr().iter().any(|line| line.contains("unfinished")));
    ada.type_line("undisturbed");
    operator.expect_text("undisturbed");
}

#[test]
fn a_place_is_kept_when_sigterm_or_sighup_ends_the_program() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::KILL, 137)] {
        let server = Server::start();
        let home = Home::new();
        let mut ada = Client::call(server.address()).name("Ada").home(&home).start();
        ada.wait_for_stderr("-- position 1 of 1");
        ada.type_line("my story");
        let mut bo = Peer::caller(server.address(), "Bo");
        assert_eq!(bo.expect_place().position, 2);
        wait_until("her story is kept", || {
            let calls = server.calls();
            let call = calls.iter().find(|call| call["name"] == "Ada")?["call"].as_str()?;
            server
                .transcript(call)
                .iter()
                .any(|entry| entry["body"]["text"] == "my story")
                .then_some(())
        });
        ada.signal(signal);
        let ended = ada.wait();
        assert_eq!(ended.code, code);
        assert!(!ended.stderr.contains("has ended"), "{}", ended.stderr);
        bo.settle();
        assert!(!bo.pending().any(|message| matches!(message, Message::Place(_))), "nobody moved");
        let again = resumes(&server, &home).start();
        again.wait_for_stderr("-- position 1 of 2");
        let mut operator = Peer::operator(server.address(), "Wei");
        assert_eq!(operator.expect_connected().peer.as_str(), "Ada", "{signal:?}");
        operator.expect_text("my story");
        again.wait_for_stderr("-- on the line with Wei");
    }
}

/// Waits until a line stands in the only file there is.
fn is_written_down(home: &Home, line: &str) {
    wait_until("the line is written down", || {
        let [file] = &home.unfinished()[..] else { return None };
        std::fs::read_to_string(file).unwrap().contains(line).then_some(())
    });
}

/// The desk of Wei, who answers by itself.
fn desk(server: &Server, home: &Home) -> ClientSetup {
    Client::desk(server.address()).name("Wei").args(["--auto"]).home(home).json()
}

#[test]
fn a_desk_that_is_killed_and_started_again_has_its_call() {
    let server = Server::start();
    let home = Home::new();
    let mut wei = desk(&server, &home).start();
    wei.expect("welcome");
    let mut ada = Peer::caller(server.address(), "Ada");
    ada.expect_connected();
    ada.say("one");
    expect_text(&mut wei, "one");
    wei.type_line("two");
    ada.expect_text("two");
    let [file] = &home.unfinished()[..] else { panic!("{:?}", home.unfinished()) };
    assert_eq!(modes(file), (0o600, 0o700));
    wei.kill();
    ada.expect_away();
    ada.say("three");
    ada.expect_text("three");
    let mut again = desk(&server, &home).start();
    again.expect("link.resumed");
    ada.expect_back();
    assert_eq!(again.expect("connected").body["peer"], "Ada");
    expect_text(&mut again, "three");
    again.type_line("four");
    expect_text(&mut again, "four");
    assert_eq!(texts(&again), ["one", "two", "three", "four"]);
    is_complete(&again);
    // It still answers by itself, and is still one operator.
    ada.hang_up();
    again.expect("ended");
    let mut bo = Peer::caller(server.address(), "Bo");
    bo.expect_connected();
    assert_eq!(again.expect("connected").body["peer"], "Bo");
    // A desk of another name is somebody else.
    let mut li = Client::desk(server.address()).name("Li").home(&home).json().start();
    li.expect("welcome");
    assert!(!li.events().iter().any(|event| event.kind == "link.resumed"));
}

#[test]
fn a_desk_that_comes_back_too_late_signs_on_anew_and_names_what_was_not_said() {
    let mut server = Server::with().graces(600, 600, 1).start();
    let home = Home::new();
    let mut wei = desk(&server, &home).start();
    wei.expect("welcome");
    let mut ada = Peer::caller(server.address(), "Ada");
    ada.expect_connected();
    wei.expect("connected");
    let again = desk(&server, &home);
    server.freeze();
    wei.type_line("maybe too late");
    is_written_down(&home, "maybe too late");
    wei.kill();
    server.crash();
    server = server.again().start();
    ada.come_back();
    assert_eq!(ada.expect_left().name.as_str(), "Wei");
    let mut wei = again.start();
    let not_said = wei.expect("link.not_said");
    assert_eq!(not_said.body["text"], "maybe too late");
    wei.expect("welcome");
    assert_eq!(wei.expect("connected").body["peer"], "Ada");
    ada.expect_connected();
    assert!(!ada.heard().contains(&"maybe too late"));
    drop(server);
}

#[test]
fn n25_an_interrupt_while_reconnecting_hangs_up_later_and_a_second_one_leaves_at_once() {
    let mut server = Server::start();
    let home = Home::new();
    let mut operator = Peer::operator(server.address(), "Wei");
    let mut ada = in_a_call(&server, &home, &mut operator);
    server.crash();
    ada.wait_for_stderr("reconnecting");
    ada.signal(Signal::INT);
    ada.wait_for_stderr("-- it hangs up as soon as there is a connection; ^C leaves now");
    server = server.again().start();
    operator.come_back();
    operator.expect_ended();
    operator.end_seen();
    assert_eq!(ada.wait().code, 0);
    assert_eq!(home.unfinished().len(), 0);

    let mut ada = in_a_call(&server, &home, &mut operator);
    ada.type_line("before");
    operator.expect_text("before");
    server.crash();
    ada.wait_for_stderr("reconnecting");
    ada.type_line("behind");
    is_written_down(&home, "behind");
    ada.signal(Signal::INT);
    ada.wait_for_stderr("-- it hangs up as soon as there is a connection");
    ada.signal(Signal::INT);
    let ended = ada.wait();
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    assert!(ended.stderr.contains("is kept for 10 minutes"), "{}", ended.stderr);
    assert!(ended.stderr.contains("1 line not said yet"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--resume"), "{}", ended.stderr);
    // It is kept, as it says.
    let _server = server.again().start();
    operator.come_back();
    let mut again = Client::call(server.address()).home(&home).args(["--resume"]).start();
    operator.expect_text("behind");
    again.type_line("bye");
    assert_eq!(again.wait().code, 0);
}

#[test]
fn a_program_waits_for_the_server_that_it_has_lost_and_reads_on_meanwhile() {
    const LINES: usize = 300;
    let mut server = Server::with().says(0).start();
    let mut operator = Peer::operator(server.address(), "Wei");
    let mut ada = Client::call(server.address()).name("Ada").args(["--bye"]).start();
    operator.expect_connected();
    let lines: Vec<String> = (0..LINES).map(|n| format!("line {n}")).collect();
    ada.write(format!("{}\n", lines[..LINES / 2].join("\n")).as_bytes());
    operator.expect_text("line 10");
    server.crash();
    ada.write(lines[LINES / 2..].join("\n").as_bytes());
    ada.close_stdin();
    // A while without a server.
    thread::sleep(Duration::from_secs(3));
    server = server.again().start();
    operator.come_back();
    operator.expect_ended();
    assert_eq!(operator.heard(), lines);
    assert_eq!(ada.wait().code, 0);
    drop(server);
}

#[test]
fn lines_are_said_once_however_often_server_and_program_are_killed() {
    const LINES: usize = 200;
    let mut server = Server::with().says(0).start();
    let home = Home::new();
    let mut operator = Peer::operator(server.address(), "Wei");
    let lines: Vec<String> = (0..LINES).map(|n| format!("line {n}")).collect();
    let mut ada = Client::call(server.address()).name("Ada").home(&home).json().start();
    ada.expect("connected");
    operator.expect_connected();
    for (round, part) in lines.chunks(LINES / 8).enumerate() {
        for line in part {
            ada.type_line(line);
        }
        // All of it is in the file or recorded once the program has read it; it tells by an answer.
        ada.command(&json!({"kind": "next", "ref": 1000 + round}));
        let reference = u64::try_from(1000 + round).unwrap();
        ada.expect_within(PATIENCE, "error", |event| event.reference == reference);
        if round % 2 == 0 {
            server.crash();
            server = server.again().start();
            operator.come_back();
        } else {
            ada.kill();
            ada = resumes(&server, &home).json().start();
            ada.expect("link.resumed");
        }
    }
    let last = expect_text(&mut ada, lines.last().unwrap());
    assert_eq!(last.body["nonce"], Value::from(LINES));
    operator.expect_text(lines.last().unwrap());
    assert_eq!(operator.heard(), lines);
    ada.type_line("bye");
    assert_eq!(ada.wait().code, 0);
    is_complete(&ada);
}

#[test]
fn where_nothing_can_be_kept_the_program_says_so_and_works() {
    let server = Server::start();
    let home = Home::new();
    std::fs::write(home.path().join("state"), "not a directory").unwrap();
    let mut operator = Peer::operator(server.address(), "Wei");
    let mut ada = in_a_call(&server, &home, &mut operator);
    ada.wait_for_stderr("once this program has ended, nobody can go on where it was");
    ada.type_line("hello");
    operator.expect_text("hello");
    ada.type_line("bye");
    assert_eq!(ada.wait().code, 0);
}
