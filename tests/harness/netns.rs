//! Two machines with a cable between them, as network namespaces of Linux.
//!
//! ```text
//!   server's machine ──── switch ──┤├── client's machine
//! ```
//!
//! Pulled is the cable between the switch and the client's machine: the server's own link stays up. The
//! addresses are loopback ones, routed nevertheless, so that plaintext is taken as well. [`Hosts`] have real ones.

use std::{
    ffi::OsString,
    process::Command,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use crate::means::{linux, tool};

/// The address of the server's machine.
pub const SERVER: &str = "127.77.0.1";

const CLIENT: &str = "127.77.0.2";

/// Two machines and their cable; gone when dropped.
#[derive(Debug)]
pub struct Cable {
    server: String,
    client: String,
    switch: String,
}

impl Cable {
    /// What is missing to have one.
    #[must_use]
    pub fn missing() -> Option<String> {
        linux("a network namespace").or_else(|| tool("ip")).or_else(|| {
            let name = name("try");
            let made = ip(&["netns", "add", &name]).and_then(|()| ip(&["netns", "del", &name]));
            made.err().map(|why| format!("no network namespace can be made: {why}"))
        })
    }

    /// Lays a cable.
    ///
    /// # Panics
    /// It can't be done.
    #[must_use]
    pub fn lay() -> Self {
        let cable = Self { server: name("s"), client: name("c"), switch: name("x") };
        let switch = cable.switch.as_str();
        for machine in [&cable.server, &cable.client, &cable.switch] {
            must(&["netns", "add", machine]);
        }
        must(&["-n", switch, "link", "add", "name", "switch", "type", "bridge"]);
        must(&["-n", switch, "link", "set", "dev", "switch", "up"]);
        let ends = [(&cable.server, "server", SERVER), (&cable.client, "client", CLIENT)];
        for (machine, port, address) in ends {
            let to = ["peer", "name", port, "netns", switch];
            let link = [&["-n", machine, "link", "add", "name", "eth", "type", "veth"][..], &to];
            must(&link.concat());
            must(&["-n", switch, "link", "set", "dev", port, "master", "switch", "up"]);
            must(&["-n", machine, "link", "set", "dev", "eth", "up"]);
            let route = "echo 1 > /proc/sys/net/ipv4/conf/eth/route_localnet";
            must(&["netns", "exec", machine, "sh", "-c", route]);
            if address == SERVER {
                // Its own clients reach it, too; the other machine isn't itself.
                must(&["-n", machine, "link", "set", "dev", "lo", "up"]);
                let own = ["route", "del", "table", "local", "local", "127.0.0.0/8", "dev", "lo"];
                must(&[&["-n", machine][..], &own].concat());
            }
            let network = format!("{address}/24");
            must(&["-n", machine, "addr", "add", &network, "dev", "eth"]);
        }
        cable
    }

    /// What runs a program on the server's machine.
    #[must_use]
    pub fn on_server(&self) -> Vec<OsString> {
        on(&self.server)
    }

    /// What runs a program on the client's machine.
    #[must_use]
    pub fn on_client(&self) -> Vec<OsString> {
        on(&self.client)
    }

    /// Pulls the cable.
    ///
    /// # Panics
    /// It can't be done.
    pub fn pull(&self) {
        must(&["-n", &self.switch, "link", "set", "dev", "client", "down"]);
    }

    /// Plugs it in again.
    ///
    /// # Panics
    /// It can't be done.
    pub fn plug(&self) {
        must(&["-n", &self.switch, "link", "set", "dev", "client", "up"]);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for machine in [&self.server, &self.client, &self.switch] {
            let _ = ip(&["netns", "del", machine]);
        }
    }
}

/// A server's machine and clients' machines on one switch, with addresses as they are elsewhere; gone when dropped.
#[derive(Debug)]
pub struct Hosts {
    switch: String,
    /// The server's machine is the first.
    machines: Vec<String>,
}

impl Hosts {
    /// The server's address of either family.
    pub const SERVER: [&str; 2] = ["10.77.0.1", "fd77::1"];

    /// Sets up a server's machine, and a client's for each of these addresses.
    ///
    /// # Panics
    /// It can't be done.
    #[must_use]
    pub fn connected(clients: &[&str]) -> Self {
        let switch = name("x");
        let machines = (0..=clients.len()).map(|n| name(&format!("m{n}"))).collect();
        let hosts = Self { switch, machines };
        let switch = hosts.switch.as_str();
        for machine in hosts.machines.iter().chain([&hosts.switch]) {
            must(&["netns", "add", machine]);
        }
        must(&["-n", switch, "link", "add", "name", "switch", "type", "bridge"]);
        must(&["-n", switch, "link", "set", "dev", "switch", "up"]);
        let own = Self::SERVER.map(|address| (0, address));
        let others = clients.iter().enumerate().map(|(n, address)| (n + 1, *address));
        for (n, machine) in hosts.machines.iter().enumerate() {
            let port = format!("port{n}");
            let to = ["peer", "name", &port, "netns", switch];
            let link = [&["-n", machine, "link", "add", "name", "eth", "type", "veth"][..], &to];
            must(&link.concat());
            must(&["-n", switch, "link", "set", "dev", &port, "master", "switch", "up"]);
            must(&["-n", machine, "link", "set", "dev", "lo", "up"]);
            must(&["-n", machine, "link", "set", "dev", "eth", "up"]);
        }
        for (n, address) in own.into_iter().chain(others) {
            let machine = &hosts.machines[n];
            if address.contains(':') {
                // Without asking first whether somebody else has it, which takes a second.
                let network = format!("{address}/16");
                must(&["-n", machine, "addr", "add", &network, "dev", "eth", "nodad"]);
            } else {
                must(&["-n", machine, "addr", "add", &format!("{address}/16"), "dev", "eth"]);
            }
        }
        hosts
    }

    /// What runs a program on the server's machine.
    #[must_use]
    pub fn on_server(&self) -> Vec<OsString> {
        on(&self.machines[0])
    }

    /// What runs a program on the machine of the client with this number, from 0.
    #[must_use]
    pub fn on_client(&self, n: usize) -> Vec<OsString> {
        on(&self.machines[n + 1])
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for machine in self.machines.iter().chain([&self.switch]) {
            let _ = ip(&["netns", "del", machine]);
        }
    }
}

/// The program is a child's own: `ip` becomes it.
fn on(machine: &str) -> Vec<OsString> {
    ["ip", "netns", "exec", machine].iter().map(Into::into).collect()
}

/// A name that no other run has.
fn name(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("helpline-{}-{}-{what}", std::process::id(), COUNT.fetch_add(1, Relaxed))
}

fn must(arguments: &[&str]) {
    ip(arguments).unwrap_or_else(|why| panic!("ip {}: {why}", arguments.join(" ")));
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|why| why.to_string())?;
    let why = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(why.trim().to_owned()) }
}
