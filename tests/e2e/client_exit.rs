//! What the exit code of `helpline` says, one code after another.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use helpline_proto::message::Message;
use helpline_tests::{
    Client, ClientSetup, Finished, Got, Home, Peer, Process, Server, helpline, wait_until,
};
use rustix::process::Signal;

/// A token that has the form of one.
const TOKEN: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

/// A caller's program in a call with an operator on a wire.
fn in_a_call(server: &Server) -> (Client, Peer) {
    let mut operator = Peer::operator(server.address(), "Wei");
    let caller = Client::call(server.address()).name("Ada").start();
    operator.expect_connected();
    caller.wait_for_stderr("-- on the line with Wei");
    (caller, operator)
}

/// A caller's program that waits.
fn waiting(server: &Server) -> Client {
    let caller = Client::call(server.address()).name("Ada").start();
    caller.wait_for_stderr("-- position 1 of 1");
    caller
}

fn signed_on(server: &Server) -> Client {
    let desk = Client::desk(server.address()).name("Wei").args(["--auto"]).start();
    desk.wait_for_stderr("-- signed on");
    desk
}

fn failed(ended: &Finished, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, code, "{}", ended.stderr);
    for part in parts {
        assert!(ended.stderr.contains(part), "no {part:?}: {}", ended.stderr);
    }
}

/// An address at which nobody listens.
fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A server of another kind: reads a little, answers with these bytes, and closes or not.
fn stranger(answer: &'static [u8], closes: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 256]);
            let _ = stream.write_all(answer);
            if !closes {
                kept.push(stream);
            }
        }
    });
    address
}

#[test]
fn code_0_after_a_call_that_either_side_ended() {
    let server = Server::start();
    let (mut ada, mut operator) = in_a_call(&server);
    operator.hang_up();
    assert_eq!(ada.wait().code, 0);
    operator.expect_ended();
    operator.end_seen();
    drop(operator);
    let (mut ada, _operator) = in_a_call(&server);
    ada.type_line("bye");
    assert_eq!(ada.wait().code, 0);
}

#[test]
fn code_1_when_a_line_was_not_said() {
    let server = Server::start();
    let (mut ada, _operator) = in_a_call(&server);
    ada.write(format!("{}\nbye\n", "x".repeat(16 * 1024 + 1)).as_bytes());
    failed(&ada.wait(), 1, &["-- not said: a text has at most 16384 bytes"]);
}

#[test]
fn code_64_for_a_wrong_command_line() {
    for wrong in [
        &[][..],
        &["call"],
        &["call", "here:x"],
        &["call", "here", "--nonsense"],
        &["call", "here", "--name", "-- wei"],
        &["call", "here", "--line", "no spaces"],
        &["dial", "here"],
    ] {
        let ended = Client::with(wrong.iter().copied()).run();
        assert_eq!(ended.code, 64, "{wrong:?}");
        assert_eq!(ended.stdout, "", "{wrong:?}");
        assert!(!ended.stderr.is_empty(), "{wrong:?}");
    }
}

#[test]
fn code_69_where_nobody_listens() {
    let address = nowhere();
    let desk = Client::desk(address).env("HELPLINE_TOKEN", TOKEN);
    for setup in [Client::call(address), desk, Client::call(address).json()] {
        let ended = setup.run();
        failed(&ended, 69, &["can't be reached", "check the address"]);
    }
    let unknown = Client::call("nobody.invalid").run();
    failed(&unknown, 69, &["nobody.invalid:8001 can't be reached", "check the name"]);
}

/// The server is killed, and another one that knows of no call answers in its place.
fn forgets(mut server: Server) -> Server {
    server.crash();
    server.forgetting().start()
}

#[test]
fn code_69_when_a_call_that_was_answered_is_over_nobody_knows_how() {
    let server = Server::start();
    let (mut ada, _operator) = in_a_call(&server);
    let _server = forgets(server);
    failed(&ada.wait(), 69, &["reconnecting", "helpline: the call is over", "to call again:"]);
}

#[test]
fn code_75_when_a_place_is_not_kept_for_any_longer() {
    let server = Server::start();
    let mut ada = waiting(&server);
    let _server = forgets(server);
    failed(&ada.wait(), 75, &["reconnecting", "your place was not kept for any longer"]);
}

#[test]
fn code_69_for_a_desk_that_was_signed_off() {
    let server = Server::start();
    let mut wei = signed_on(&server);
    let _server = forgets(server);
    failed(&wei.wait(), 69, &["reconnecting", "signed this desk off", "to sign on again:"]);
}

/// Another connection for the call of a program, which is superseded by it: with the ticket that it keeps.
fn taken_over(client: &Client, address: SocketAddr) -> Peer {
    let ticket = client.home().tickets().pop().expect("it keeps a ticket");
    let mut peer = Peer::connect(address);
    peer.send_all([Peer::hello(), Peer::join_with("Somebody", ticket)]);
    peer.expect_resumed();
    peer
}

#[test]
fn code_69_when_another_window_takes_the_call_over() {
    let server = Server::start();
    let (mut ada, mut operator) = in_a_call(&server);
    // Who comes may be a connection that this program itself had given up: it takes the call back. Whoever
    // comes again and again is somebody else.
    let mut again = (0..10)
        .find_map(|_| {
            let mut other = taken_over(&ada, server.address());
            wait_until("one of the two has given way", || {
                if !ada.is_running() {
                    return Some(true);
                }
                let got = other.next_within(Duration::from_millis(20));
                matches!(got, Got::Message(_, Message::Goodbye(_))).then_some(false)
            })
            .then_some(other)
        })
        .expect("the program gives way at last");
    failed(&ada.wait(), 69, &["helpline: taken over by another window"]);
    Peer::chat(&mut again, &mut operator, "hello");
}

#[test]
fn code_75_where_every_place_is_taken() {
    let server = Server::with().places(1).start();
    let mut first = Peer::caller(server.address(), "First");
    first.expect_place();
    let begun = Instant::now();
    let ended = Client::call(server.address()).run();
    failed(&ended, 75, &["helpline: the line is busy: every place is taken", "try again in "]);
    assert_eq!(ended.stdout, "");
    // Promised within 250 ms, beyond a sync in progress.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn code_75_while_the_server_stops() {
    let server = Server::start();
    let mut operator = Peer::operator(server.address(), "Li");
    let mut caller = Peer::caller(server.address(), "Bo");
    caller.expect_connected();
    operator.expect_connected();
    let mut ada = waiting(&server);
    server.signal(Signal::TERM);
    server.wait_for_stderr("the line is closing");
    // The call of the two others may finish; until then the line is closed to new ones.
    let ended = Client::call(server.address()).run();
    failed(&ended, 75, &["helpline: the line is closed: the server stops", "try again"]);
    // Who waits is kept, and tries until there is a server again.
    assert!(ada.is_running());
    caller.hang_up();
    let mut server = server;
    assert_eq!(server.wait().code, 0);
    ada.wait_for_stderr("-- the server is stopping; reconnecting");
    assert!(ada.is_running());
}

#[test]
fn code_76_for_what_is_no_helpline_server() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        for closes in [true, false] {
            let address = stranger(answer, closes);
            let desk = Client::desk(address).env("HELPLINE_TOKEN", TOKEN);
            for setup in [Client::call(address), desk] {
                for setup in [setup.clone(), setup.args(["--plaintext"])] {
                    failed(&setup.run(), 76, &["is not a Helpline server", "check host and port"]);
                }
            }
        }
    }
}

#[test]
fn a_server_that_closes_without_a_word_is_unreachable() {
    let address = stranger(b"", true);
    failed(&Client::call(address).run(), 69, &["ended the connection", "helpline-server"]);
}

#[test]
fn a_server_that_never_answers_is_given_up_after_10_seconds() {
    let address = stranger(b"", false);
    let begun = Instant::now();
    // Side by side: a caller, an operator, and a caller whose stranger begins an answer.
    let desk = Client::desk(address).env("HELPLINE_TOKEN", TOKEN);
    let setups = |half| [Client::call(address), desk.clone(), Client::call(half)];
    let plain = setups(stranger(b"\x10\x00", false)).map(|setup| setup.args(["--plaintext"]));
    let setups = setups(stranger(b"\x16\x03\x03\x00", false));
    let mut clients: Vec<Client> =
        setups.into_iter().chain(plain).map(ClientSetup::start).collect();
    let (encrypted, plain) = clients.split_at_mut(3);
    for client in encrypted {
        failed(&client.wait(), 69, &["nothing answered within 10 s", "helpline-server"]);
    }
    for client in plain {
        let ended = client.wait();
        failed(&ended, 69, &["accepts connections, but does not answer", "helpline-server"]);
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(9), "it was patient: {took:?}");
}

#[test]
fn code_77_for_an_unknown_line_naming_those_there() {
    let server = Server::with().line("night").start();
    let ended = Client::call(server.address()).args(["--line", "day"]).run();
    failed(&ended, 77, &["has no such line", "night"]);
    let link = format!("helpline://{}/day", server.address());
    failed(&Client::call(link).run(), 77, &["has no such line", "night"]);
    let link = format!("helpline://{}/night", server.address());
    let caller = Client::call(link).start();
    caller.wait_for_stderr("-- position 1 of 1");
}

#[test]
fn code_77_for_a_link_that_names_another_key() {
    let server = Server::start();
    let link = format!("helpline://{}/main#sha256:{}", server.address(), "0f".repeat(32));
    for setup in [Client::call(&link), Client::desk(&link).env("HELPLINE_TOKEN", TOKEN)] {
        failed(&setup.run(), 77, &["does not have the key that the link names"]);
    }
    assert_eq!(server.calls(), Vec::<serde_json::Value>::new(), "it never called");
    let link = server.wait_for_stderr("fingerprint is sha256:");
    let fingerprint = link.split_once("sha256:").unwrap().1;
    let link = format!("helpline://{}/main#sha256:{fingerprint}", server.address());
    Client::call(link).start().wait_for_stderr("-- position 1 of 1");
}

#[test]
fn code_77_for_a_desk_without_a_good_token_from_this_machine_too() {
    let server = Server::start();
    let desk = || Client::desk(server.address()).name("Eve");
    for token in ["0".repeat(64), "f".repeat(64)] {
        let ended = desk().env("HELPLINE_TOKEN", &token).run();
        failed(&ended, 77, &["no account with this name and token"]);
        assert!(!ended.stderr.contains(&token), "{}", ended.stderr);
    }
    let nobody = Client::with(["desk".to_owned(), server.address().to_string()]);
    failed(&nobody.args(["--token-file", "/dev/null"]).run(), 78, &["token"]);
}

#[test]
fn n25_code_130_after_an_interrupt_before_an_answer() {
    let server = Server::start();
    let mut ada = waiting(&server);
    ada.signal(Signal::INT);
    failed(&ada.wait(), 130, &["-- the call has ended (you left before an answer)"]);
    // Not even connected yet.
    let ada = Client::call(stranger(b"", false)).start();
    ada.wait_for_stderr("-- connecting to");
    let mut ada = ada;
    ada.signal(Signal::INT);
    assert_eq!(ada.wait().code, 130);
}

#[test]
fn code_130_after_bye_before_an_answer() {
    let server = Server::start();
    let mut ada = waiting(&server);
    ada.type_line("bye");
    failed(&ada.wait(), 130, &["-- the call has ended (you left before an answer)"]);
}

#[test]
fn n25_code_0_after_an_interrupt_in_a_call() {
    let server = Server::start();
    let (mut ada, mut operator) = in_a_call(&server);
    ada.signal(Signal::INT);
    operator.expect_ended();
    failed(&ada.wait(), 0, &["-- the call has ended (you said bye)"]);
}

#[test]
fn codes_129_and_143_after_signals_that_do_not_hang_up() {
    let server = Server::start();
    for (signal, code) in [(Signal::HUP, 129), (Signal::TERM, 143)] {
        let (mut ada, operator) = in_a_call(&server);
        ada.signal(signal);
        let ended = ada.wait();
        assert_eq!(ended.code, code);
        assert!(!ended.stderr.contains("has ended"), "{}", ended.stderr);
        drop(operator);
    }
    let mut wei = signed_on(&server);
    wei.signal(Signal::TERM);
    assert_eq!(wei.wait().code, 143);
}

#[test]
fn a_desk_that_signs_off_leaves_with_0() {
    let server = Server::start();
    let mut wei = signed_on(&server);
    wei.signal(Signal::INT);
    assert_eq!(wei.wait().code, 0);
}

/// The program in a pipeline whose reader goes away after one line.
fn before_a_reader_of_one_line(args: &[&str]) -> Process {
    let mut command = Command::new("sh");
    let script = r#"{ "$@"; echo "code $?" >&2; } | head -n 1"#;
    command.args(["-c", script, "sh"]).arg(helpline()).args(args);
    Process::start(command, &Home::new())
}

#[test]
fn a_closed_standard_output_counts_as_an_interrupt() {
    let server = Server::start();
    let address = server.address().to_string();
    let mut operator = Peer::operator(server.address(), "Wei");
    let mut ada = before_a_reader_of_one_line(&["call", &address, "--name", "Ada"]);
    operator.expect_connected();
    operator.say("one");
    ada.wait_for_line("Wei: one");
    operator.say("two");
    operator.expect_ended();
    ada.wait_for_stderr("code 0");
    operator.end_seen();
    drop(operator);
    assert_eq!(ada.wait().code, 0);

    // Nothing has to be written for it to be noticed.
    let server = Server::start();
    let address = server.address().to_string();
    let mut json = before_a_reader_of_one_line(&["call", &address, "--json"]);
    json.wait_for_line("welcome");
    json.wait_for_stderr("code 130");
    json.close_stdin();
    assert_eq!(json.wait().code, 0);
}
