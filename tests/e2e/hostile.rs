//! Peers that mean no good, or no Helpline. Those that attack in numbers are in `tests/hostile`.

use std::{
    io::{Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use helpline_proto::{
    code::Code,
    ids::{Resumable, Side},
    limits,
    message::{Message, Ping, Ref},
};
use helpline_tests::{Got, Peer, Server, have, linux, wait_within};

#[test]
fn n30_a_silent_connection_is_sent_away_and_nobody_waits_for_it() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let begun = Instant::now();
    let mut silent = Peer::connect(server.address());
    let mut polite = Peer::welcomed(server.address());
    let mut slow = Peer::connect(server.address());
    slow.send_raw(&Peer::frame(&Peer::hello())[..9]);
    let mut next = Peer::caller(server.address(), "Bea");
    next.expect_place();
    next.say("I am in danger");
    next.expect_text("I am in danger");
    caller.hang_up();
    operator.expect_ended();
    operator.end_seen();
    operator.expect_text("I am in danger");
    println!("the real caller is heard after {:?}", begun.elapsed());
    for peer in [&mut silent, &mut polite, &mut slow] {
        let goodbye = peer.expect_goodbye();
        assert_eq!(goodbye.code, Code::TOO_LATE);
        assert_eq!(peer.expect_over(), Got::End);
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(9) && took < Duration::from_secs(100), "{took:?}");
    }
    Peer::chat(&mut next, &mut operator, "undisturbed");
    let given =
        operator.pending().filter(|message| matches!(message, Message::Connected(_))).count();
    assert_eq!(given, 1, "the next caller, and nobody else: {}", operator.seen());
}

#[test]
fn a_frame_that_is_begun_has_to_be_finished_however_slowly_it_trickles() {
    let server = Server::start();
    let (mut stalled, mut operator) = Peer::pair(server.address());
    let mut trickling = Peer::caller(server.address(), "Bea");
    trickling.expect_place();
    let begun = Instant::now();
    let say = Peer::frame(&stalled.next_say("cut off"));
    stalled.send_raw(&say[..say.len() - 1]);
    let long = Peer::frame(&trickling.next_say(&"x".repeat(1000)));
    let mut bytes = long.iter();
    let goodbye =
        wait_within(Duration::from_secs(100), "the one who trickles is sent away", || {
            if let Some(byte) = bytes.next() {
                let _ = trickling.try_send_raw(&[*byte]);
            }
            match trickling.next_within(Duration::from_millis(100)) {
                Got::Message(_, Message::Goodbye(goodbye)) => Some(goodbye),
                _ => None,
            }
        });
    assert_eq!(goodbye.code, Code::TOO_LATE);
    assert!(begun.elapsed() >= Duration::from_secs(9), "{:?}", begun.elapsed());
    let goodbye = stalled.expect_goodbye();
    assert_eq!((goodbye.code, goodbye.resumable), (Code::TOO_LATE, Resumable::Yes));
    assert_eq!(stalled.heard(), Vec::<&str>::new());
    operator.expect_away();
    // Nothing of what was cut off was said, so it can be said again.
    stalled.come_back();
    stalled.send_raw(&say);
    operator.expect_text("cut off");
}

#[test]
fn n29_who_sends_nothing_for_45_seconds_is_away() {
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let mut waiting = Peer::caller(server.address(), "Bea");
    waiting.expect_place();
    let begun = Instant::now();
    // The operator's client pings, as it should; those of the callers do nothing, as behind a pulled cable.
    let away = wait_within(Duration::from_secs(450), "the silent caller is away", || {
        operator.send(Ping {});
        match operator.next_within(Duration::from_millis(500)) {
            Got::Message(_, Message::Away(away)) => Some(away),
            _ => None,
        }
    });
    let took = begun.elapsed();
    println!("away after {took:?} of silence");
    assert_eq!((away.call, away.from), (caller.call(), Side::Caller));
    assert!(took >= Duration::from_secs(44), "{took:?}");
    operator.say("are you still there?");
    for silent in [&mut caller, &mut waiting] {
        let goodbye = silent.expect_goodbye();
        assert_eq!((goodbye.code, goodbye.resumable), (Code::SILENT, Resumable::Yes));
    }
    // The cable is in again.
    caller.come_back();
    operator.expect_back();
    caller.expect_text("are you still there?");
    waiting.come_back();
    assert_eq!(waiting.expect_place().position, 1);
    Peer::chat(&mut caller, &mut operator, "as before");
}

#[test]
fn n31_a_browser_is_told_what_this_is_and_never_reaches_the_queue() {
    let server = Server::start();
    let mut operator = Peer::operator_by_hand(server.address(), "Wei");
    for request in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut browser = Peer::connect(server.address());
        browser.send_raw(request.as_bytes());
        let answer = String::from_utf8(browser.expect_bytes()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.contains("helpline call"), "{answer}");
    }
    // A scanner that speaks SSH is told in the wire's own words, one that breaks TLS in those of TLS.
    let mut scanner = Peer::connect(server.address());
    scanner.send_raw(b"SSH-2.0-OpenSSH_9.9\r\n");
    assert_eq!(scanner.expect_goodbye().code, Code::TOO_LARGE);
    assert_eq!(scanner.expect_over(), Got::End);
    let mut scanner = Peer::connect(server.address());
    scanner.send_raw(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00");
    let alert = scanner.expect_bytes();
    assert_eq!(alert.first(), Some(&0x15), "{alert:?}");
    let mut caller = Peer::caller(server.address(), "Ada");
    assert_eq!(caller.expect_place().waiting, 1);
    let first = operator.expect("Offer", |message| match message {
        Message::Offer(offer) => Some(offer.name.clone()),
        _ => None,
    });
    assert_eq!(first.as_str(), "Ada");
    assert_eq!(server.calls().len(), 1);
}

/// How much a server's memory may grow while somebody doesn't read: outboxes, a page, SQLite's
/// cache, and what an allocator keeps; not what was said.
const FLAT: u64 = 48 << 20;

/// What is said to somebody who doesn't read, in bytes.
const FLOOD: usize = 128 << 20;

/// One side of a call says very much, the other never reads. Returns how many lines were said until that one was
/// cut.
fn never_reads(speaker: &mut Peer, server: &Server, healthy: (&mut Peer, &mut Peer)) -> usize {
    let text = "x".repeat(limits::TEXT);
    let (mut before, mut said) = (0, 0);
    let (caller, operator) = healthy;
    for n in 0..2 * FLOOD / limits::TEXT / 8 {
        let says: Vec<Message> = (0..8).map(|_| speaker.next_say(&text)).collect();
        speaker.send_raw(&frames(&says));
        let (mut heard, mut cut) = (0, false);
        while heard < 8 {
            match speaker.next_within(Duration::from_secs(60)) {
                Got::Message(_, Message::Said(_)) => heard += 1,
                // The one who doesn't read was cut.
                Got::Message(_, Message::Away(_)) => cut = true,
                Got::Message(..) => {}
                other => panic!("{other:?}"),
            }
        }
        said += heard;
        if n == 64 {
            before = server.memory();
        }
        if n % 64 == 0 {
            let begun = Instant::now();
            Peer::chat(caller, operator, &format!("{n}"));
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        }
        if cut {
            let after = server.memory();
            let mib = (said * limits::TEXT) >> 20;
            println!("said {mib} MiB to nobody; memory {} then {} MiB", before >> 20, after >> 20);
            assert!(before > 0, "more than 8 MiB were said");
            assert!(after < before + FLAT, "{before} then {after} bytes");
            return said;
        }
        // Were the store faster than ten seconds allow for, it would only be said for longer.
        if n > FLOOD / limits::TEXT / 8 {
            thread::sleep(Duration::from_millis(100));
        }
    }
    panic!("never cut");
}

fn frames(messages: &[Message]) -> Vec<u8> {
    let mut frames = bytes::BytesMut::new();
    for message in messages {
        message.encode(Ref::NONE, &mut frames).unwrap();
    }
    frames.to_vec()
}

/// A call for the flood, and one that must not suffer.
fn two_calls(server: &Server) -> [(Peer, Peer); 2] {
    [Peer::pair(server.address()), Peer::pair(server.address())]
}

/// Who was cut has what had been sent, comes back, and has the rest: all of it, once.
fn cut_and_back(victim: &mut Peer, speaker: &mut Peer, said: usize, server: &Server) {
    // What had been sent is still there to read, then the connection is over, one way or other.
    let begun = Instant::now();
    victim.expect_over();
    let before = victim.heard().len();
    assert!(before < said, "it had read everything");
    let memory = server.memory();
    victim.come_back();
    speaker.expect_back();
    speaker.say("and now?");
    victim.expect_text("and now?");
    println!("over and back after {:?}: {before} of {said} lines, then all", begun.elapsed());
    assert_eq!(victim.heard().len(), said + 1);
    let after = server.memory();
    assert!(after < memory + FLAT, "{memory} then {after} bytes");
    Peer::chat(speaker, victim, "reads again");
}

#[test]
fn n34_an_operator_who_never_reads_costs_no_memory_is_cut_and_comes_back_with_nothing_lost() {
    if !have(linux("/proc")) {
        return;
    }
    let server = Server::with().says(0).start();
    let [(mut caller, mut operator), (mut other, mut desk)] = two_calls(&server);
    let said = never_reads(&mut caller, &server, (&mut other, &mut desk));
    cut_and_back(&mut operator, &mut caller, said, &server);
    Peer::chat(&mut other, &mut desk, "undisturbed");
}

#[test]
fn n34_a_caller_who_never_reads_costs_no_memory_is_cut_and_comes_back_with_nothing_lost() {
    if !have(linux("/proc")) {
        return;
    }
    let server = Server::with().says(0).start();
    let [(mut caller, mut operator), (mut other, mut desk)] = two_calls(&server);
    let said = never_reads(&mut operator, &server, (&mut other, &mut desk));
    cut_and_back(&mut caller, &mut operator, said, &server);
    Peer::chat(&mut other, &mut desk, "undisturbed");
}

#[test]
fn n34_who_asks_and_never_reads_the_answers_is_cut() {
    if !have(linux("/proc")) {
        return;
    }
    let server = Server::with().says(0).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let asker = Peer::caller(server.address(), "Eve");
    let before = server.memory();
    let pings = Message::from(Ping {}).to_frame(Ref(1)).unwrap().repeat(1000);
    let mut stream = asker.stream();
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let begun = Instant::now();
    let mut asked = 0;
    // A write that fails for anything but a full connection is the cut.
    loop {
        match stream.write(&pings) {
            Ok(size) => asked += size,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        assert!(begun.elapsed() < Duration::from_secs(200), "never cut");
        Peer::chat(&mut caller, &mut operator, "meanwhile");
    }
    println!("asked {} KiB, cut after {:?}", asked >> 10, begun.elapsed());
    assert!(server.memory() < before + FLAT);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    Peer::chat(&mut caller, &mut operator, "undisturbed");
}
