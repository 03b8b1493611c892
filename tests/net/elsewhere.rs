//! Callers and operators on other machines: what is asked of them, and what one address may do.

use std::time::{Duration, Instant};

use helpline_proto::text::Name;
use helpline_tests::{
    Client, ClientSetup, Home, Server, ServerSetup, accounts, have,
    netns::{Cable, Hosts},
};

/// For what is promised within 2 s.
const SOON: Duration = Duration::from_secs(20);

/// Two IPv4 clients, then two of one IPv6 household and one of another.
const CLIENTS: [&str; 5] =
    ["10.77.0.2", "10.77.0.3", "fd77:0:0:2::2", "fd77:0:0:2::3", "fd77:0:0:3::2"];

/// A server on a machine of its own, and where it answers.
fn open(hosts: &Hosts, family: usize, setup: ServerSetup) -> Server {
    let address = Hosts::SERVER[family];
    let listen =
        if address.contains(':') { format!("[{address}]:0") } else { format!("{address}:0") };
    setup.listen(&listen).through(hosts.on_server()).start()
}

fn call(hosts: &Hosts, n: usize, server: &Server) -> ClientSetup {
    Client::call(server.address()).through(hosts.on_client(n))
}

fn link(server: &Server) -> String {
    let ready = server.wait_for_stderr("callers elsewhere: helpline call ");
    ready.rsplit_once(' ').unwrap().1.to_owned()
}

/// The desk of Wei, who has the link and the token.
fn desk_by_link(server: &Server) -> ClientSetup {
    let token = accounts::token(server.address(), &Name::new("Wei").unwrap()).unwrap();
    let desk = Client::desk(link(server)).name("Wei").args(["--auto"]);
    desk.env("HELPLINE_TOKEN", token.as_str())
}

#[test]
fn from_elsewhere_only_tls_is_taken_and_the_link_is_enough() {
    if !have(Cable::missing()) {
        return;
    }
    let hosts = Hosts::connected(&CLIENTS);
    let server = open(&hosts, 0, Server::with());
    let refused = call(&hosts, 0, &server).args(["--plaintext"]).run();
    assert_eq!(refused.code, 77, "{}", refused.stderr);
    let link = link(&server);
    let by_link = Client::call(&link).through(hosts.on_client(0)).start();
    by_link.wait_for_stderr("-- position 1 of 1");
    let (there, _) = link.split_once("#sha256:").unwrap();
    let other = format!("{there}#sha256:{}", "0f".repeat(32));
    let refused = Client::call(other).through(hosts.on_client(0)).run();
    assert_eq!(refused.code, 77, "{}", refused.stderr);
    // Whoever insists gets plaintext.
    let careless = open(&hosts, 0, Server::with().args(["--plaintext"]));
    careless.wait_for_stderr("plaintext is taken from other machines");
    let plain = call(&hosts, 0, &careless).args(["--plaintext"]).start();
    plain.wait_for_stderr("-- position 1 of 1");
}

#[test]
fn a_token_is_told_to_nobody_who_was_never_met() {
    if !have(Cable::missing()) {
        return;
    }
    let hosts = Hosts::connected(&CLIENTS);
    let server = open(&hosts, 0, Server::with());
    let home = Home::new();
    let desk = || {
        let desk = Client::desk(server.address()).name("Wei").args(["--auto"]).home(&home);
        desk.through(hosts.on_client(0))
    };
    for _ in 0..2 {
        let refused = desk().run();
        assert_eq!(refused.code, 77, "a second time as well: {}", refused.stderr);
    }
    assert!(!home.path().join("config/helpline/known-servers").exists(), "it stays unknown");
    let by_link = desk_by_link(&server).home(&home).through(hosts.on_client(0)).start();
    by_link.wait_for_stderr("-- signed on");
}

#[test]
fn one_address_has_its_share_and_no_more() {
    if !have(Cable::missing()) {
        return;
    }
    let hosts = Hosts::connected(&CLIENTS);
    for (family, [first, neighbour, other]) in [(0, [0, 0, 1]), (1, [2, 3, 4])] {
        // Two of four places for one address.
        let server = open(&hosts, family, Server::with());
        let waiting = [first, neighbour].map(|n| {
            let caller = call(&hosts, n, &server).start();
            caller.wait_for_stderr("-- position");
            caller
        });
        let refused = call(&hosts, first, &server).run();
        assert_eq!(refused.code, 75, "{}", refused.stderr);
        assert!(refused.stderr.contains("from your address"), "{}", refused.stderr);
        let elsewhere = call(&hosts, other, &server).start();
        elsewhere.wait_for_stderr("-- position 3 of 3");
        drop(waiting);

        let server = open(&hosts, family, Server::with().args(["--connections-per-address", "2"]));
        let two = [first, neighbour].map(|n| {
            let caller = call(&hosts, n, &server).start();
            caller.wait_for_stderr("-- position");
            caller
        });
        let third = call(&hosts, first, &server).run();
        assert_eq!(third.code, 69, "closed without a word: {}", third.stderr);
        let elsewhere = call(&hosts, other, &server).start();
        elsewhere.wait_for_stderr("-- position 3 of 3");
        server.wait_for_stderr("too many of one address");
        drop(two);
    }
    // This machine's own address is exempt, unless it is told not to be.
    for (args, code) in [(&[][..], None), (&["--limit-loopback"], Some(75))] {
        let server = Server::with().args(args).start();
        let callers: Vec<Client> = (0..2).map(|_| Client::call(server.address()).start()).collect();
        callers.iter().for_each(|caller| drop(caller.wait_for_stderr("-- position")));
        let mut third = Client::call(server.address()).start();
        match code {
            Some(code) => assert_eq!(third.wait().code, code),
            None => drop(third.wait_for_stderr("-- position 3 of 3")),
        }
    }
}

#[test]
fn a_ban_cuts_who_is_there_and_keeps_out_who_comes() {
    if !have(Cable::missing()) {
        return;
    }
    let hosts = Hosts::connected(&CLIENTS);
    let server = open(&hosts, 0, Server::with());
    let mut eve = call(&hosts, 0, &server).start();
    eve.wait_for_stderr("-- position 1 of 1");
    let ada = call(&hosts, 1, &server).start();
    ada.wait_for_stderr("-- position 2 of 2");
    let begun = Instant::now();
    assert_eq!(server.also(&["ban", "add", "10.77.0.2"]).code, 0);
    let ended = eve.wait_within(SOON);
    println!("a banned caller is cut after {:?}", begun.elapsed());
    assert_eq!(ended.code, 77, "{}", ended.stderr);
    let refused = call(&hosts, 0, &server).run();
    assert_eq!(refused.code, 77, "{}", refused.stderr);
    ada.wait_for_stderr("-- position 1 of 1");
    assert_eq!(server.also(&["ban", "lift", "10.77.0.2"]).code, 0);
    helpline_tests::wait_within(SOON, "the ban is lifted", || {
        let mut back = call(&hosts, 0, &server).start();
        helpline_tests::wait_until("it is let in or not", || {
            let told = back.stderr().join("\n");
            if told.contains("-- position") {
                return Some(Some(()));
            }
            (!back.is_running()).then_some(None)
        })
    });
}

#[test]
fn an_operator_bans_the_address_of_the_caller_and_no_other() {
    if !have(Cable::missing()) {
        return;
    }
    let hosts = Hosts::connected(&CLIENTS);
    let server = open(&hosts, 1, Server::with());
    let mut eve = call(&hosts, 2, &server).start();
    eve.wait_for_stderr("-- position 1 of 1");
    let mut wei = desk_by_link(&server).json().through(hosts.on_server()).start();
    wei.expect("connected");
    wei.command(
        &serde_json::json!({"kind": "ban", "ref": 3, "body": {"for_s": 3600, "reason": "noise"}}),
    );
    assert_eq!(wei.expect("banned").reference, 3);
    let ended = eve.wait_within(SOON);
    assert_eq!(ended.code, 77, "{}", ended.stderr);
    // The household, and nobody else.
    assert_eq!(call(&hosts, 3, &server).run().code, 77);
    let other = call(&hosts, 4, &server).start();
    other.wait_for_stderr("-- on the line with Wei");
    let list = server.also(&["ban", "list"]).stdout;
    assert!(list.contains("fd77:0:0:2::/64") && list.contains("noise"), "{list}");
}

#[test]
fn a_disabled_operator_is_cut_wherever_they_are() {
    if !have(Cable::missing()) {
        return;
    }
    let hosts = Hosts::connected(&CLIENTS);
    let server = open(&hosts, 0, Server::with());
    let mut wei = desk_by_link(&server).through(hosts.on_client(0)).start();
    wei.wait_for_stderr("-- signed on");
    let ada = call(&hosts, 1, &server).start();
    ada.wait_for_stderr("-- on the line with Wei");
    let begun = Instant::now();
    assert_eq!(server.also(&["operator", "disable", "Wei"]).code, 0);
    let cut = wei.wait_within(SOON);
    println!("a disabled operator is cut after {:?}", begun.elapsed());
    assert_eq!(cut.code, 77, "{}", cut.stderr);
    ada.wait_for_stderr("-- position 1 of 1");
}
