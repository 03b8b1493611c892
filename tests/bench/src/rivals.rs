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
        irc::Irc,
        mqtt::Mqtt,
        nats::Nats,
        raw, redis,
    },
    trust,
};

mod installed;

use installed::Recorded;

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
    InspIrcd,
    Ngircd,
    MosquittoQos0,
    MosquittoQos1,
    Nats,
    JetStream,
    JetStreamSynced,
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
            Self::InspIrcd => "InspIRCd",
            Self::Ngircd => "ngircd",
            Self::MosquittoQos0 => "mosquitto, QoS 0",
            Self::MosquittoQos1 => "mosquitto, QoS 1",
            Self::Nats => "NATS",
            Self::JetStream => "JetStream, every 2 min",
            Self::JetStreamSynced => "JetStream, always",
        }
    }

    /// Which version this is, as the program itself says; none where it is a part of this one.
    pub(crate) fn version(self, place: &Place) -> Option<String> {
        let (program, argument) = match self {
            Self::Relay | Self::Log | Self::Naive => return None,
            Self::Helpline | Self::HelplineTls => (place.helpline_server.as_path(), "--version"),
            Self::RedisPubSub | Self::RedisStreams | Self::RedisStreamsEverySecond => {
                (Path::new("redis-server"), "--version")
            }
            Self::InspIrcd => (Path::new("inspircd"), "--version"),
            Self::Ngircd => (Path::new("ngircd"), "--version"),
            Self::MosquittoQos0 | Self::MosquittoQos1 => (Path::new("mosquitto"), "-h"),
            Self::Nats | Self::JetStream | Self::JetStreamSynced => {
                (Path::new("nats-server"), "--version")
            }
        };
        let printed = Command::new(program).arg(argument).output().ok()?.stdout;
        number(&String::from_utf8_lossy(&printed))
    }

    /// Starts it. Unsupported if the program that is installed can't do that.
    pub(crate) fn start(self, place: &Place) -> io::Result<Running> {
        let files = TempDir::new_in(&place.scratch)?;
        let at = free()?;
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
                let arguments = ["--appendonly", "no"];
                (installed::redis(files.path(), at, &arguments)?, Box::new(redis::PubSub))
            }
            Self::RedisStreams => {
                let arguments = ["--appendonly", "yes", "--appendfsync", "always"];
                (installed::redis(files.path(), at, &arguments)?, Box::new(redis::Streams))
            }
            Self::RedisStreamsEverySecond => {
                let arguments = ["--appendonly", "yes", "--appendfsync", "everysec"];
                (installed::redis(files.path(), at, &arguments)?, Box::new(redis::Streams))
            }
            Self::InspIrcd => (installed::inspircd(files.path(), at)?, Box::new(Irc::Together)),
            Self::Ngircd => (installed::ngircd(files.path(), at)?, Box::new(Irc::OneByOne)),
            Self::MosquittoQos0 => {
                (installed::mosquitto(files.path(), at)?, Box::new(Mqtt::AtMostOnce))
            }
            Self::MosquittoQos1 => {
                (installed::mosquitto(files.path(), at)?, Box::new(Mqtt::AtLeastOnce))
            }
            Self::Nats => (installed::nats(files.path(), at, Recorded::No)?, Box::new(Nats::Core)),
            Self::JetStream => {
                let process = installed::nats(files.path(), at, Recorded::ByDefault)?;
                (process, Box::new(Nats::JetStream))
            }
            Self::JetStreamSynced => {
                let process = installed::nats(files.path(), at, Recorded::Synced)?;
                (process, Box::new(Nats::JetStream))
            }
        };
        let mut running = Running { process, at, protocol, _files: files };
        if !matches!(self, Self::Helpline | Self::HelplineTls) {
            running.process.answers(at)?;
        }
        Ok(running)
    }
}

/// The version number in what a program prints about itself: the first that has a point in it.
fn number(printed: &str) -> Option<String> {
    let digits = |c: char| c.is_ascii_digit() || c == '.';
    let mut numbers = printed.split(|c| !digits(c)).map(|number| number.trim_matches('.'));
    numbers.find(|number| number.contains('.')).map(str::to_owned)
}

/// An address on loopback where nobody answers.
fn free() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// One of the raw servers, which this very program is too.
fn own(arguments: &[&str]) -> io::Result<Process> {
    Process::start(Command::new(std::env::current_exe()?).args(arguments))
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

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn a_version_is_found_in_what_each_program_prints() {
        for (printed, version) in [
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", "7.0.15"),
            ("InspIRCd-3.15.0-debian", "3.15.0"),
            ("ngIRCd 26.1-IDENT+IPv6+IRCPLUS", "26.1"),
            ("mosquitto version 2.0.11\n\nmosquitto is an MQTT v5.0/v3.1.1/v3.1 broker.", "2.0.11"),
            ("nats-server: v2.9.10", "2.9.10"),
        ] {
            assert_eq!(number(printed).as_deref(), Some(version));
        }
        assert_eq!(number("usage: something else"), None);
    }
}
