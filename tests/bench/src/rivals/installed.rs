//! The servers that the system has installed, each with a configuration of its own, in the foreground.
//!
//! None of them bounds what this measurement does: not how fast somebody says something, how much waits
//! for somebody, or how many come from one address.

use std::{io, net::SocketAddr, path::Path, process::Command};

use crate::process::Process;

pub(super) fn redis(files: &Path, at: SocketAddr, arguments: &[&str]) -> io::Result<Process> {
    let port = at.port().to_string();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--dir"]).arg(files);
    command.args(["--auto-aof-rewrite-percentage", "0", "--maxclients", "20000"]);
    Process::start(command.args(arguments))
}
