//! Connections that say nothing, or not enough.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use helpline_proto::{ids::Answering, limits, message::Message};
use helpline_tests::{Peer, Proof, Server, accounts};
use rustls::client::Resumption;
use serde_json::json;

use crate::{
    siege::{besieged, grown, line, mib},
    wire::{Wire, bytes_of},
};

/// How many connections of each kind.
const EACH: usize = 1_000;

/// The time between two bytes of those that drip.
const DRIP: Duration = Duration::from_millis(500);

/// A connection begins for the server a moment before its peer knows.
const SOONER: Duration = Duration::from_millis(500);

/// What is promised for ten seconds has happened after so many.
const CLOSED: Duration = Duration::from_secs(100);

/// A connection's first words, and what drips after them.
struct Kind {
    first: Vec<u8>,
    dripping: Vec<u8>,
}

/// Silent; half a frame; welcome and then silent; a frame that drips; a TLS handshake or a request that drips.
fn kinds() -> [Kind; 5] {
    let hello = bytes_of(&[Peer::hello()]).to_vec();
    let long = bytes_of(&[Peer::join(&"x".repeat(limits::NAME))]).to_vec();
    let kind = |first: &[u8], dripping: &[u8]| Kind {
        first: first.to_owned(),
        dripping: dripping.to_owned(),
    };
    [
        kind(b"", b""),
        kind(&hello[..7], b""),
        kind(&hello, b""),
        kind(&hello, &long[..long.len() - 1]),
        kind(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &[7; 500]),
    ]
}

/// Makes them all, lets them drip, and returns how long after its own beginning the first and the last was closed.
fn closed(server: &Server) -> (Duration, Duration) {
    let kinds = kinds();
    let mut open: Vec<(TcpStream, Instant, &Kind)> = Vec::new();
    for _ in 0..EACH {
        for kind in &kinds {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.write_all(&kind.first).unwrap();
            stream.set_nonblocking(true).unwrap();
            open.push((stream, Instant::now(), kind));
        }
    }
    let (mut first, mut last) = (Duration::MAX, Duration::ZERO);
    let (mut dripped, mut next) = (0, Instant::now());
    while !open.is_empty() {
        let drips = Instant::now() >= next;
        open.retain_mut(|(stream, begun, kind)| {
            if drips && let Some(byte) = kind.dripping.get(dripped) {
                let _ = stream.write(&[*byte]);
            }
            let closed = loop {
                match stream.read(&mut [0; 4096]) {
                    Ok(0) => break true,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                    Err(_) => break true,
                }
            };
            if closed {
                first = first.min(begun.elapsed());
                last = last.max(begun.elapsed());
            }
            !closed
        });
        if drips {
            dripped += 1;
            next += DRIP;
        }
        let longest = open.iter().map(|(_, begun, _)| begun.elapsed()).max().unwrap_or_default();
        assert!(longest < CLOSED, "{} are still open", open.len());
        thread::sleep(Duration::from_millis(20));
    }
    (first, last)
}

#[test]
fn silent_and_dripping_connections_are_closed_by_their_deadline() {
    for (what, strangers, soonest) in [
        ("silent and dripping, none displaced", "6000", limits::HANDSHAKE - SOONER),
        ("silent and dripping", "1024", Duration::ZERO),
    ] {
        let setup = line().args(["--strangers", strangers]);
        besieged(Proof::begin("hostile"), what, setup, |server, _| {
            let before = server.memory();
            let (first, last) = closed(server);
            assert!(first >= soonest, "closed after {first:?}");
            vec![
                ("wire", json!("both")),
                ("times", json!(5 * EACH)),
                ("closed_s", json!(last.as_secs_f64())),
                ("grown_mib", mib(grown(server, before))),
            ]
        });
    }
}

/// How much more memory may be held while somebody doesn't read: two outboxes, a page, what SQLite caches.
const FLAT: u64 = 48 << 20;

#[test]
fn an_operator_who_never_reads_is_cut_under_tls_too() {
    const LINES: usize = 1_000;
    let wire = Wire::tls(Resumption::disabled());
    besieged(Proof::begin("hostile"), "an operator who never reads", line(), |server, _| {
        let address = server.address();
        let mut deaf = wire.connect(address).unwrap();
        let mut sign_on = Peer::sign_on("Eve", Answering::ByItself);
        if let Message::SignOn(sign_on) = &mut sign_on {
            sign_on.token = accounts::token(address, &sign_on.name);
        }
        deaf.send(&[Peer::hello(), sign_on]).unwrap();
        let mut caller = Peer::caller(address, "Cas");
        caller.expect_connected();
        let before = server.memory();
        let text = "x".repeat(limits::TEXT);
        let begun = Instant::now();
        let mut said = 0;
        let away = loop {
            let says: Vec<Message> = (0..8).map(|_| caller.next_say(&text)).collect();
            caller.send_all(says);
            let mut heard = 0;
            let mut away = false;
            while heard < 8 {
                match caller.next_within(CLOSED) {
                    helpline_tests::Got::Message(_, Message::Said(_)) => heard += 1,
                    helpline_tests::Got::Message(_, Message::Away(_)) => away = true,
                    helpline_tests::Got::Message(..) => {}
                    other => panic!("{other:?}"),
                }
            }
            said += heard;
            if away {
                break begun.elapsed();
            }
            assert!(begun.elapsed() < CLOSED, "never cut");
            if said > LINES {
                // Enough: from here on it is only waited for.
                thread::sleep(Duration::from_millis(200));
            }
        };
        let grown = grown(server, before);
        assert!(grown < FLAT, "{grown} bytes for {said} lines");
        caller.say("anybody there?");
        caller.expect_text("anybody there?");
        caller.hang_up();
        vec![
            ("wire", json!("TLS")),
            ("times", json!(said)),
            ("closed_s", json!(away.as_secs_f64())),
            ("grown_mib", mib(grown)),
        ]
    });
}
