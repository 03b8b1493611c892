//! The servers that the system has installed, each with a configuration of its own, in the foreground.
//!
//! None of them bounds what this measurement does: not how fast somebody says something, how much waits
//! for somebody, or how many come from one address.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::process::Process;

/// Starts it. What it says about itself goes nowhere.
fn silent(command: &mut Command) -> io::Result<Process> {
    Process::start(command.stderr(Stdio::null()))
}

/// Writes a configuration.
fn written(files: &Path, text: &str) -> io::Result<PathBuf> {
    let file = files.join("bench.conf");
    fs::write(&file, text)?;
    Ok(file)
}

pub(super) fn redis(files: &Path, at: SocketAddr, arguments: &[&str]) -> io::Result<Process> {
    let port = at.port().to_string();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--dir"]).arg(files);
    command.args(["--auto-aof-rewrite-percentage", "0", "--maxclients", "20000"]);
    Process::start(command.args(arguments))
}

/// It ends who says too much at once unless both the penalty that it allows and the one that it forgives
/// a second (in thousandths) are near the most that it can count.
pub(super) fn inspircd(files: &Path, at: SocketAddr) -> io::Result<Process> {
    let port = at.port();
    let text = format!(
        r#"<config format="xml">
<server name="irc.bench" description="bench" network="Bench">
<bind address="127.0.0.1" port="{port}" type="clients">
<connect name="all" allow="*" timeout="60" pingfreq="10m" limit="100000"
 localmax="100000" globalmax="100000" maxconnwarn="no"
 threshold="4000000" commandrate="4000000000" fakelag="no"
 recvq="64M" softsendq="32M" hardsendq="64M"
 resolvehostnames="no" useident="no">
<performance softlimit="20000" somaxconn="4096" quietbursts="yes">
<dns server="127.0.0.1">
"#
    );
    let mut command = Command::new("inspircd");
    command.arg("--config").arg(written(files, &text)?);
    silent(command.args(["--nofork", "--nolog", "--nopid", "--runasroot"]))
}

/// Started by root it goes on as `nobody`.
pub(super) fn ngircd(files: &Path, at: SocketAddr) -> io::Result<Process> {
    let port = at.port();
    let text = format!(
        "[Global]
Name = irc.bench
AdminInfo1 = bench
Listen = 127.0.0.1
Ports = {port}
MotdPhrase = bench
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxPenaltyTime = 0
PingTimeout = 600
[Options]
DNS = no
Ident = no
PAM = no
"
    );
    let mut command = Command::new("ngircd");
    silent(command.args(["--nodaemon", "--config"]).arg(written(files, &text)?))
}

pub(super) fn mosquitto(files: &Path, at: SocketAddr) -> io::Result<Process> {
    let port = at.port();
    let text = format!(
        "listener {port} 127.0.0.1
user root
allow_anonymous true
persistence false
max_connections -1
max_inflight_messages 0
max_queued_messages 0
max_queued_bytes 0
set_tcp_nodelay true
log_dest none
"
    );
    silent(Command::new("mosquitto").arg("-c").arg(written(files, &text)?))
}

/// When a server of NATS records what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    No,
    /// In files that it syncs when it does so by itself.
    ByDefault,
    /// In files that it syncs before it acknowledges.
    Synced,
}

/// Unsupported if it can't record that way.
pub(super) fn nats(files: &Path, at: SocketAddr, recorded: Recorded) -> io::Result<Process> {
    let store = files.join("jetstream").display().to_string();
    let jetstream = match recorded {
        Recorded::No => String::new(),
        Recorded::ByDefault => format!("jetstream {{ store_dir: {store:?} }}\n"),
        Recorded::Synced => {
            format!("jetstream {{ store_dir: {store:?}, sync_interval: always }}\n")
        }
    };
    let text = format!("listen: \"{at}\"\nmax_connections: 100000\n{jetstream}");
    let file = written(files, &text)?;
    let command = || {
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(&file);
        command
    };
    if recorded == Recorded::Synced && !command().arg("-t").output()?.status.success() {
        let why = "this nats-server can't sync each message (2.10 can)";
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    silent(&mut command())
}
