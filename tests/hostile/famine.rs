//! No descriptors, and a system that accepts nobody.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use helpline_tests::{Peer, Proof, Server, have, tool};
use serde_json::{Value, json};

use crate::{
    siege::{besieged, line, turn},
    wire::Wire,
};

/// How long is looked at.
const LOOKED_AT: Duration = Duration::from_secs(3);

/// A tenth of a core, for everything including the call that goes on.
const MOST_CPU: Duration = Duration::from_millis(300);

/// The processor time a server uses and the lines it writes while everybody waits.
fn looked_at(server: &Server) -> Vec<(&'static str, Value)> {
    let (cpu, lines) = (server.cpu(), server.stderr().len());
    thread::sleep(LOOKED_AT);
    let (cpu, lines) = (server.cpu() - cpu, server.stderr().len() - lines);
    assert!(cpu < MOST_CPU, "{cpu:?} of processor time in {LOOKED_AT:?}");
    assert!(lines <= 4, "{lines} lines in {LOOKED_AT:?}");
    let percent = 100.0 * cpu.as_secs_f64() / LOOKED_AT.as_secs_f64();
    vec![("cpu_percent", json!(percent.round())), ("lines", json!(lines))]
}

#[test]
fn three_hundred_connections_and_descriptors_for_a_few_dozen() {
    const CONNECTIONS: usize = 300;
    if !have(tool("prlimit")) {
        return;
    }
    for wire in Wire::both() {
        let setup = line().through(["prlimit", "--nofile=64:64"]);
        besieged(Proof::begin("hostile"), "64 descriptors", setup, |server, _| {
            let mut open = Vec::new();
            for _ in 0..CONNECTIONS {
                let mut connection = wire.connect(server.address()).unwrap();
                let _ = connection.shake_hands();
                open.push(connection);
            }
            let mut figures = looked_at(server);
            figures.extend([("wire", json!(wire.name())), ("times", json!(open.len()))]);
            figures
        });
    }
}

/// A line whose system refuses to accept, as `when` says, which is strace's word for which times.
fn refusing(error: &str, when: &str) -> helpline_tests::ServerSetup {
    let injected = format!("inject=accept4:error={error}:when={when}");
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=accept4", "-e"];
    line().through(strace.into_iter().map(str::to_owned).chain([injected]))
}

/// What was injected has happened.
fn refuses(server: &Server) {
    let stderr = server.stderr();
    let is_told = stderr.iter().any(|line| line.contains("cannot accept a connection"));
    assert!(is_told, "{stderr:?}");
}

#[test]
fn connections_that_the_system_will_not_accept_are_tried_again_without_spinning() {
    const CALLERS: usize = 20;
    if !have(tool("strace")) {
        return;
    }
    for error in ["EMFILE", "ECONNABORTED", "ENOMEM"] {
        // From the sixth on every third time, of each of the server's threads.
        let setup = refusing(error, "6+3");
        let what = format!("accept fails with {error}");
        besieged(Proof::begin("hostile"), &what, setup, |server, _| {
            for n in 0..CALLERS {
                let mut caller = Peer::caller(server.address(), &format!("Ada {n}"));
                caller.expect_place();
                caller.hang_up();
            }
            refuses(server);
            let mut figures = vec![("wire", json!("both")), ("times", json!(CALLERS))];
            figures.extend(looked_at(server));
            figures
        });
    }
}

#[test]
fn a_system_that_accepts_nobody_any_more_costs_nothing_and_ends_no_call() {
    if !have(tool("strace")) {
        return;
    }
    let _turn = turn();
    let server = refusing("EMFILE", "8+").start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let waiting: Vec<TcpStream> = (0..50).filter_map(|_| knock(server.address())).collect();
    let figures = looked_at(&server);
    refuses(&server);
    Peer::chat(&mut caller, &mut operator, "still there");
    println!("{} wait in the kernel: {figures:?}", waiting.len());
}

fn knock(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.write_all(&Peer::frame(&Peer::hello())).ok()?;
    Some(stream)
}
