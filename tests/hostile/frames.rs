//! Malformed frames, broken handshakes, lengths that lie.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use helpline_proto::{
    code::Code,
    frame::{self, HEADER},
    ids::Answering,
    limits,
    message::{Hello, Message, Ref},
};
use helpline_tests::{PATIENCE, Peer, Proof, accounts};
use rustls::{ClientConnection, client::Resumption, pki_types::ServerName};
use serde_json::json;

use crate::{
    noise::{Noise, goldens, malformed},
    siege::{besieged, from_another_machine, grown, line, mib},
    wire::{Wire, bytes_of},
};

const ATTACKERS: u64 = 4;

/// How much more memory may be held after an attack than before: what an allocator keeps, and caches.
const FLAT: u64 = 32 << 20;

/// Everybody attacks until all has been done. `one` returns how much of it it did.
fn together(proof: &Proof, times: usize, one: impl Fn(&mut Noise) -> usize + Sync) -> usize {
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for attacker in 0..ATTACKERS {
            let (done, one) = (&done, &one);
            let mut noise = Noise(proof.seed().wrapping_add(attacker));
            scope.spawn(move || {
                from_another_machine();
                while done.load(Ordering::Relaxed) < times {
                    done.fetch_add(one(&mut noise), Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner()
}

#[test]
fn n04_a_hundred_thousand_malformed_frames_hurt_nobody_else() {
    let goldens = goldens();
    for wire in [Wire::Plain, Wire::tls(Resumption::in_memory_sessions(64))] {
        let mut proof = Proof::begin("hostile");
        let frames = proof.times("HELPLINE_FRAMES", 100_000);
        let setup = line().places(1_000_000);
        besieged(proof, "malformed frames", setup, |server, proof| {
            let (address, before) = (server.address(), server.memory());
            let sent = together(proof, frames, |noise| attack(&wire, address, noise, &goldens));
            vec![
                ("wire", json!(wire.name())),
                ("times", json!(sent)),
                ("grown_mib", mib(grown(server, before))),
            ]
        });
    }
}

/// One connection that sends malformed frames until it is thrown out. Returns how many the server took up: those it
/// refused and went on from, and the last.
fn attack(wire: &Wire, address: SocketAddr, noise: &mut Noise, goldens: &[Vec<u8>]) -> usize {
    let mut sign_on = Peer::sign_on("Eve", Answering::ByHand);
    if let Message::SignOn(sign_on) = &mut sign_on {
        sign_on.token = accounts::token(address, &sign_on.name);
    }
    let first = match noise.below(4) {
        0 => vec![],
        1 => vec![Peer::hello()],
        2 => vec![Peer::hello(), Peer::join("Eve")],
        _ => vec![Peer::hello(), sign_on],
    };
    // All in one write: the server goes on from one to the next until it has had enough.
    let mut bytes = bytes_of(&first).to_vec();
    bytes.extend((0..8).flat_map(|_| malformed(noise, goldens)));
    if let (Wire::Plain, Some(first @ 0x16)) = (wire, bytes.first_mut()) {
        // That would be TLS, which is answered in its own way.
        *first = 0x17;
    }
    let Ok(mut connection) = wire.connect(address) else { return 0 };
    let _ = connection.write_all(&bytes).and_then(|()| connection.flush());
    let refused =
        connection.rest().iter().filter(|message| matches!(message, Message::Error(_))).count();
    connection.reset();
    refused + 1
}

#[test]
fn broken_handshakes_hurt_nobody_else() {
    let mut proof = Proof::begin("hostile");
    let hellos = proof.times("HELPLINE_HANDSHAKES", 20_000);
    besieged(proof, "broken TLS handshakes", line(), |server, proof| {
        let (address, before) = (server.address(), server.memory());
        let Wire::Tls(config) = Wire::tls(Resumption::disabled()) else { unreachable!() };
        let sent = together(proof, hellos, |noise| {
            let name = ServerName::try_from("line.example").unwrap();
            let mut tls = ClientConnection::new(config.clone(), name).unwrap();
            let mut bytes = Vec::new();
            tls.write_tls(&mut bytes).unwrap();
            for _ in 0..=noise.below(4) {
                // The first byte stays: it is what tells that this is TLS.
                let at = 1 + noise.below(bytes.len() - 1);
                bytes[at] = noise.byte();
            }
            if noise.below(4) == 0 {
                bytes.truncate(1 + noise.below(bytes.len()));
            }
            let Ok(mut stream) = TcpStream::connect(address) else { return 0 };
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
            1
        });
        vec![
            ("wire", json!("TLS")),
            ("times", json!(sent)),
            ("grown_mib", mib(grown(server, before))),
        ]
    });
}

#[test]
fn a_frame_that_says_it_is_long_takes_no_memory_until_it_comes() {
    const HEADERS: usize = 5_000;
    const MOST: u64 = 100 << 20;
    for wire in Wire::both() {
        let setup = line().places(1_000).args(["--strangers", "6000"]);
        besieged(Proof::begin("hostile"), "maximal headers", setup, |server, _| {
            let (address, before) = (server.address(), server.memory());
            let body = usize::try_from(limits::FRAME_BEFORE).unwrap() - HEADER;
            let header = frame::header(Hello::NUMBER, Ref::NONE, body).unwrap();
            let connections: Vec<_> = (0..HEADERS)
                .map(|_| {
                    let mut connection = wire.connect(address).unwrap();
                    connection.write_all(&header).and_then(|()| connection.flush()).unwrap();
                    connection
                })
                .collect();
            // And as callers, who may send more.
            let joined: Vec<_> = (0..64)
                .map(|n| {
                    let mut connection = wire.connect(address).unwrap();
                    let body = usize::try_from(limits::FRAME).unwrap() - HEADER;
                    let mut bytes = bytes_of(&[Peer::hello(), Peer::join(&format!("Eve {n}"))]);
                    bytes.extend_from_slice(&frame::header(60, Ref::NONE, body).unwrap());
                    connection.write_all(&bytes).and_then(|()| connection.flush()).unwrap();
                    connection
                })
                .collect();
            thread::sleep(Duration::from_secs(1));
            let grown = grown(server, before);
            assert!(grown < MOST, "{grown} bytes for {HEADERS} headers");
            let all = connections.into_iter().chain(joined);
            all.for_each(super::wire::Connection::reset);
            vec![("wire", json!(wire.name())), ("times", json!(HEADERS)), ("grown_mib", mib(grown))]
        });
    }
}

/// A whole frame, each number in it in turn said to be 2^63.
fn with_lies(golden: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (HEADER..golden.len()).map(|at| {
        let mut lying = golden.to_vec();
        // What bincode writes before a number of eight bytes.
        let number = [&[253][..], &(1_u64 << 63).to_le_bytes()].concat();
        lying.splice(at..=at, number);
        let length = u32::try_from(lying.len() - 4).unwrap();
        lying[..4].copy_from_slice(&length.to_be_bytes());
        lying
    })
}

#[test]
fn a_count_inside_a_frame_that_lies_takes_no_memory() {
    let goldens = goldens();
    for wire in Wire::both() {
        besieged(Proof::begin("hostile"), "counts of 2^63 inside", line(), |server, proof| {
            let (address, before) = (server.address(), server.memory());
            let lying = Mutex::new(goldens.iter().flat_map(|golden| with_lies(golden)));
            let lies = goldens.iter().map(|golden| golden.len() - HEADER).sum();
            let refused = AtomicUsize::new(0);
            together(proof, lies, |_| {
                let some: Vec<Vec<u8>> = lying.lock().unwrap().by_ref().take(16).collect();
                for lie in &some {
                    let mut connection = wire.connect(address).unwrap();
                    let bytes = [&bytes_of(&[Peer::hello()]), lie.as_slice()].concat();
                    let _ = connection.write_all(&bytes).and_then(|()| connection.flush());
                    let said = connection.rest();
                    let is_refused = said.iter().any(|message| match message {
                        Message::Error(error) => error.code == Code::BAD_BODY,
                        Message::Goodbye(goodbye) => goodbye.code == Code::BAD_BODY,
                        _ => false,
                    });
                    refused.fetch_add(usize::from(is_refused), Ordering::Relaxed);
                    connection.reset();
                }
                some.len()
            });
            let grown = grown(server, before);
            assert!(grown < FLAT, "{grown} bytes");
            let refused = refused.into_inner();
            assert!(refused > 0, "no lie was found out");
            vec![
                ("wire", json!(wire.name())),
                ("times", json!(lies)),
                ("refused", json!(refused)),
                ("grown_mib", mib(grown)),
            ]
        });
    }
}
