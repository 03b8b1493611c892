//! Where the server answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use helpline_tests::{Peer, Server, have};

pub(crate) fn ipv6() -> Option<String> {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).err().map(|error| format!("no IPv6 here: {error}"))
}

#[test]
fn n28_both_families_are_answered() {
    if !have(ipv6()) {
        return;
    }
    let server = Server::with().listen("[::1]:0").start();
    assert_eq!(server.address().ip(), IpAddr::V6(Ipv6Addr::LOCALHOST));
    let (mut caller, mut operator) = Peer::pair(server.address());
    Peer::chat(&mut caller, &mut operator, "over IPv6");
    let with_port = format!("[::1]:{}", server.address().port());
    server.wait_for_stderr(&format!("listening on {with_port}"));
    server.wait_for_stderr(&format!("helpline desk {with_port}"));
    drop(server);

    // One name, two addresses, one port.
    let server = Server::with().listen("localhost:0").start();
    let port = server.address().port();
    for address in server.addresses() {
        assert_eq!(address.port(), port);
        drop(Peer::welcomed(*address));
    }
    // What the name stands for is the machine's affair; both at once can be had anyway.
    let server = Server::with().listen("127.0.0.1:0").listen("[::1]:0").start();
    let [four, six] = server.addresses() else { panic!("{:?}", server.addresses()) };
    assert!(four.is_ipv4() && six.is_ipv6());
    let mut operator = Peer::operator(*four, "Wei");
    let mut caller = Peer::caller(*six, "Ada");
    operator.expect_connected();
    caller.expect_connected();
    Peer::chat(&mut caller, &mut operator, "one line, two families");
}

#[test]
fn n36_a_taken_port_is_one_clear_line() {
    let server = Server::start();
    let second = Server::with().listen(&server.address().to_string()).run();
    assert_eq!(second.code, 69, "{second:?}");
    let address = server.address();
    assert_eq!(
        second.stderr,
        format!(
            "helpline-server: something already answers on {address}\n  \
             stop it, or answer elsewhere: --listen PORT\n"
        )
    );
    assert_eq!(second.stdout, "");
    drop(Peer::welcomed(server.address()));
}

#[test]
fn n36_a_taken_data_directory_is_one_clear_line() {
    let server = Server::start();
    let second = Server::with().home(server.home()).run();
    assert_eq!(second.code, 69, "{second:?}");
    let data = server.data();
    assert_eq!(
        second.stderr,
        format!(
            "helpline-server: another helpline-server keeps its calls in {}\n  \
             stop it, or keep these calls elsewhere: --data DIR\n",
            data.display()
        )
    );
    assert_eq!(second.stdout, "");
    let (mut caller, mut operator) = Peer::pair(server.address());
    Peer::chat(&mut caller, &mut operator, "undisturbed");
}

#[test]
fn callers_elsewhere_are_told_how_to_know_the_line() {
    for (address, all) in [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "::1")] {
        if address.starts_with('[') && !have(ipv6()) {
            continue;
        }
        let server = Server::with().line("night").listen(address).start();
        let port = server.address().port();
        let link = server.wait_for_stderr("callers elsewhere: helpline call helpline://");
        let (_, at) = link.split_once("helpline://").unwrap();
        let (host, rest) = at.split_once(&format!(":{port}/night#")).unwrap();
        assert!(!host.is_empty(), "{link}");
        let made = server.wait_for_stderr("made this line's key; its fingerprint is ");
        assert!(made.ends_with(rest), "{made} {link}");
        drop(Peer::welcomed(SocketAddr::new(all.parse().unwrap(), port)));
        let again = Server::with().home(server.home()).listen(address);
        drop(server);
        let again = again.start();
        assert!(again.wait_for_stderr("callers elsewhere").ends_with(rest));
        assert!(!again.stderr().iter().any(|line| line.contains("made this line's key")));
    }
}

#[test]
fn an_address_for_everybody_answers_both_families() {
    if !have(ipv6()) {
        return;
    }
    let server = Server::with().listen("[::]:0").start();
    let port = server.address().port();
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        drop(Peer::welcomed(SocketAddr::new(address, port)));
    }
}

#[test]
fn several_addresses_are_one_line() {
    let server = Server::with().listen("127.0.0.1:0").listen("127.0.0.2:0").start();
    let addresses: Vec<SocketAddr> = server.addresses().to_vec();
    let mut operator = Peer::operator(addresses[0], "Wei");
    let mut caller = Peer::caller(addresses[1], "Ada");
    operator.expect_connected();
    caller.expect_connected();
    Peer::chat(&mut caller, &mut operator, "hello");
}
