//! More of what is allowed than anybody needs.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use helpline_proto::{
    ids::{Answering, Side, Ticket},
    message::{Message, Ping, Resume},
    text::Secret,
};
use helpline_tests::{Peer, Proof, Server, ServerSetup};
use rustls::{HandshakeKind, client::Resumption};
use serde_json::json;

use crate::{
    noise::Noise,
    siege::{besieged, from_another_machine, grown, line, mib, turn},
    wire::{Connection, Wire},
};

const ATTACKERS: u64 = 4;

/// Those who flood come from here, those who mean well from 127.0.0.1.
const FROM: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), 0);

/// Floods a line for as long as `HELPLINE_FLOOD_SECONDS` says, on both wires. `one` is one attacker's next
/// connection, and returns how much it did.
fn flood(
    what: &str,
    setup: impl Fn() -> ServerSetup,
    one: impl Fn(&Wire, SocketAddr, &mut Noise) -> io::Result<usize> + Sync,
) {
    for wire in Wire::both() {
        let mut proof = Proof::begin("hostile");
        let seconds = proof.times("HELPLINE_FLOOD_SECONDS", 2);
        let lasts = Duration::from_secs(seconds.try_into().unwrap());
        besieged(proof, what, setup(), |server, proof| {
            let (address, before) = (server.address(), server.memory());
            let (done, begun) = (AtomicUsize::new(0), Instant::now());
            thread::scope(|scope| {
                for attacker in 0..ATTACKERS {
                    let (done, one, wire) = (&done, &one, &wire);
                    let mut noise = Noise(proof.seed().wrapping_add(attacker));
                    scope.spawn(move || {
                        from_another_machine();
                        while begun.elapsed() < lasts {
                            // Being turned away is what a flood is for.
                            let some = one(wire, address, &mut noise).unwrap_or(1);
                            done.fetch_add(some, Ordering::Relaxed);
                        }
                    });
                }
            });
            vec![
                ("wire", json!(wire.name())),
                ("times", json!(done.into_inner())),
                ("grown_mib", mib(grown(server, before))),
            ]
        });
    }
}

fn ticket(noise: &mut Noise) -> Ticket {
    Ticket(noise.bytes(32).try_into().unwrap())
}

#[test]
fn a_flood_of_pings_slows_nobody_else() {
    const AT_ONCE: usize = 1_000;
    flood(
        "pings",
        || line().places(1_000_000),
        |wire, address, noise| {
            let mut connection = wire.connect(address)?;
            connection.send(&[Peer::hello(), Peer::join_with("Eve", ticket(noise))])?;
            let pings = vec![Message::from(Ping {}); AT_ONCE];
            connection.send(&pings)?;
            let rest = connection.rest();
            connection.reset();
            Ok(rest.len())
        },
    );
}

#[test]
fn a_flood_of_joins_leaves_room_for_others() {
    let setup = || line().args(["--limit-loopback", "--places", "20"]);
    flood("joins", setup, |wire, address, noise| {
        let mut connection = wire.connect_as(FROM, address)?;
        connection.send(&[Peer::hello(), Peer::join_with("Eve", ticket(noise))])?;
        connection.rest();
        connection.reset();
        Ok(1)
    });
}

#[test]
fn a_flood_of_wrong_tokens_gets_nobody_in_and_slows_nobody_else() {
    flood("sign-ons with wrong tokens", line, |wire, address, noise| {
        let mut connection = wire.connect(address)?;
        let mut sign_on = Peer::sign_on_with("Wei", Answering::ByItself, ticket(noise));
        if let Message::SignOn(sign_on) = &mut sign_on {
            let token: String = noise.bytes(32).iter().map(|byte| format!("{byte:02x}")).collect();
            sign_on.token = Some(Secret::new(token.as_str()).unwrap());
        }
        connection.send(&[Peer::hello(), sign_on])?;
        // Nobody of them waits for the answer, which comes later and later.
        connection.socket().set_read_timeout(Some(Duration::from_millis(20)))?;
        let mut buffer = BytesMut::new();
        while let Ok(Some(message)) = connection.next(&mut buffer) {
            assert!(!matches!(message, Message::Admitted(_)), "{message:?}");
        }
        connection.reset();
        Ok(1)
    });
}

#[test]
fn a_flood_of_made_up_tickets_finds_nobodys_call() {
    flood("made-up tickets", line, |wire, address, noise| {
        let mut connection = wire.connect(address)?;
        let side = if noise.below(2) == 0 { Side::Caller } else { Side::Operator };
        let resume = Resume { ticket: ticket(noise), side, shown: Vec::new() };
        connection.send(&[Peer::hello(), resume.into()])?;
        connection.socket().set_read_timeout(Some(Duration::from_millis(20)))?;
        let mut buffer = BytesMut::new();
        while let Ok(Some(message)) = connection.next(&mut buffer) {
            assert!(!matches!(message, Message::Resumed(_)), "{message:?}");
        }
        connection.reset();
        Ok(1)
    });
}

/// Connects and leaves, so many times; whoever leaves has shaken hands before.
fn connect_and_leave(wire: &Wire, server: &Server, times: usize) {
    thread::scope(|scope| {
        for _ in 0..ATTACKERS {
            scope.spawn(|| {
                from_another_machine();
                for _ in 0..times.div_ceil(ATTACKERS.try_into().unwrap()) {
                    let mut connection = wire.connect(server.address()).unwrap();
                    // One that is displaced in the middle of it has left, too.
                    let _ = connection.shake_hands();
                    connection.reset();
                }
            });
        }
    });
}

#[test]
fn who_connects_and_leaves_leaves_nothing_behind() {
    const TENTHS: u64 = 10;
    // Bytes for each connection: less than the smallest thing that could leak, a task.
    const SLOPE: u64 = 64;
    for wire in Wire::both() {
        let mut proof = Proof::begin("hostile");
        let leavers = proof.times("HELPLINE_LEAVERS", 100_000);
        besieged(proof, "connecting and leaving", line(), |server, _| {
            let tenth = leavers / usize::try_from(TENTHS).unwrap();
            let begun = Instant::now();
            let held: Vec<u64> = (0..TENTHS)
                .map(|_| {
                    connect_and_leave(&wire, server, tenth);
                    server.memory()
                })
                .collect();
            let took = begun.elapsed();
            // What it holds settles in the first half.
            let grown = held.last().unwrap().saturating_sub(held[held.len() / 2 - 1]);
            let slope = grown / u64::try_from(leavers / 2).unwrap();
            assert!(slope < SLOPE, "{slope} bytes for each that has left: {held:?}");
            vec![
                ("wire", json!(wire.name())),
                ("times", json!(leavers)),
                ("slope", json!(slope)),
                ("grown_mib", mib(grown)),
                ("per_second", json!(leavers as u64 / took.as_secs().max(1))),
            ]
        });
    }
}

/// The handshakes that one core of the server does in a second: whole ones, or resumed.
#[test]
fn handshakes_a_second_and_core() {
    const HANDSHAKES: u32 = 2_000;
    let _turn = turn();
    for (what, kind, resumption) in [
        ("whole handshakes", HandshakeKind::Full, Resumption::disabled()),
        ("resumed handshakes", HandshakeKind::Resumed, Resumption::in_memory_sessions(64)),
    ] {
        let wire = Wire::tls(resumption);
        // The first one is never resumed, and what is asked here is not what a call costs.
        let server = line().start();
        let shake = || -> io::Result<Option<HandshakeKind>> {
            let mut connection = wire.connect(server.address())?;
            connection.send(&[Peer::hello()])?;
            // With the first answer come the tickets to resume with.
            connection.next(&mut BytesMut::new())?;
            let Connection::Tls(stream) = &connection else { return Ok(None) };
            let kind = stream.conn.handshake_kind();
            connection.reset();
            Ok(kind)
        };
        shake().unwrap();
        let before = server.cpu();
        for _ in 0..HANDSHAKES {
            assert_eq!(shake().unwrap(), Some(kind));
        }
        let each = (server.cpu() - before) / HANDSHAKES;
        let a_second = 1_000_000 / each.as_micros().max(1);
        Proof::begin("handshakes").holds(&[
            ("what", json!(what)),
            ("each_us", json!(u64::try_from(each.as_micros()).unwrap())),
            ("a_second", json!(u64::try_from(a_second).unwrap())),
        ]);
    }
}
