//! Who is measured: each started anew, with a configuration of its own, on loopback.

use std::{
    io::{self, BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use helpline_proto::text::Secret;
use tempfile::TempDir;

use crate::{
    process::Process,
    speak::{
        Protocol,
        helpline::{Helpline, OPERATOR},
        raw, redis,
    },
    trust,
};

/// Somebody who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival {
    Relay,
    Log,
    Naive,
    Helpline,
    HelplineTls,
    RedisPubSub,
    RedisStreams,
    RedisStreamsEverySecond,
}

/// Where programs are and files may be put.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The release program.
    pub(crate) helpline_server: PathBuf,
    /// A directory on a real disk.
    pub(crate) scratch: PathBuf,
}

/// A server that answers.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) at: SocketAddr,
    pub(crate) protocol: Box<dyn Protocol>,
    _files: TempDir,
}

impl Rival {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Relay => "L1 raw relay",
            Self::Log => "L5 raw synced log",
            Self::Naive => "naive blocking pair",
            Self::Helpline => "Helpline",
            Self::HelplineTls => "Helpline, TLS",
            Self::RedisPubSub => "Redis pub/sub",
            Self::RedisStreams => "Redis Streams, always",
            Self::RedisStreamsEverySecond => "Redis Streams, everysec",
        }
    }

    /// Starts it.
    pub(crate) fn start(self, place: &Place) -> io::Result<Running> {
        let files = TempDir::new_in(&place.scratch)?;
        let at = free()?;
        let port = at.port().to_string();
        let (process, protocol): (Process, Box<dyn Protocol>) = match self {
            Self::Relay => (own(&["relay", &at.to_string()])?, Box::new(raw::Relay)),
            Self::Log => {
                let file = files.path().join("log").display().to_string();
                (own(&["log", &at.to_string(), &file])?, Box::new(raw::Log))
            }
            Self::Naive => (own(&["naive", &at.to_string()])?, Box::new(raw::Naive)),
            Self::Helpline | Self::HelplineTls => {
                let token = operator(place, files.path())?;
                let process = helpline(place, files.path(), at)?;
                let tls = if self == Self::HelplineTls { Some(trust::config(true)?) } else { None };
                (process, Box::new(Helpline { token, tls }))
            }
            Self::RedisPubSub => {
                (redis(files.path(), &port, &["--appendonly", "no"])?, Box::new(redis::PubSub))
            }
            Self::RedisStreams => (
                redis(files.path(), &port, &["--appendonly", "yes", "--appendfsync", "always"])?,
                Box::new(redis::Streams),
            ),
            Self::RedisStreamsEverySecond => (
                redis(files.path(), &port, &["--appendonly", "yes", "--appendfsync", "everysec"])?,
                Box::new(redis::Streams),
            ),
        };
        let mut running = Running { process, at, protocol, _files: files };
        if !matches!(self, Self::Helpline | Self::HelplineTls) {
            running.process.answers(at)?;
        }
        Ok(running)
    }
}

/// An address on loopback where nobody answers.
fn free() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// One of the raw servers, which this very program is too.
fn own(arguments: &[&str]) -> io::Result<Process> {
    Process::start(Command::new(std::env::current_exe()?).args(arguments))
}

fn redis(files: &Path, port: &str, arguments: &[&str]) -> io::Result<Process> {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", port, "--save", "", "--dir"]).arg(files);
    command.args(["--auto-aof-rewrite-percentage", "0"]);
    Process::start(command.args(arguments))
}

/// Makes the account that all operators share; its token.
pub(crate) fn operator(place: &Place, data: &Path) -> io::Result<Secret> {
    let mut command = Command::new(&place.helpline_server);
    let made = command.args(["operator", "add", OPERATOR, "--data"]).arg(data).output()?;
    let token = String::from_utf8_lossy(&made.stdout);
    Secret::new(token.trim()).map_err(io::Error::other)
}

/// Starts the line; it answers.
pub(crate) fn helpline(place: &Place, data: &Path, at: SocketAddr) -> io::Result<Process> {
    let mut command = Command::new(&place.helpline_server);
    command.args([
        "--listen",
        &at.to_string(),
        "--no-console",
        "--says",
        "0",
        "--places",
        "20000",
        "--data",
    ]);
    let mut process = Process::start(command.arg(data).stderr(Stdio::piped()))?;
    let stderr = process.child().stderr.take();
    let mut lines = BufReader::new(stderr.ok_or(io::ErrorKind::BrokenPipe)?);
    let mut line = String::new();
    while !line.starts_with("listening on ") {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Err(io::Error::other("helpline-server does not answer"));
        }
    }
    // It says little, and doesn't end because nobody reads it.
    std::thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
    Ok(process)
}
