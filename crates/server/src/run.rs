//! `helpline-server run`: a line from its first answer to its last goodbye.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use helpline_cli_common::{
    exit::{Exit, Failure},
    log::{self, Format, Verbosity},
    terminal,
};
use helpline_proto::{
    address::{Address, Fingerprint},
    limits,
    text::{LineName, Name},
};
use helpline_server::{
    core::Policy,
    crowd::Room,
    data,
    door::Plaintext,
    server::{Kept, RunError, Server, Settings, StartError},
    tls::{Files, Key},
};
use helpline_switchboard::Rules;
use rustix::{
    process::{Resource, getrlimit, setrlimit},
    system::uname,
};
use serde_json::json;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};
use tracing::level_filters::LevelFilter;

use crate::{cli, console::Console};

/// How long last words may take to go out once every call has ended: the second signal promises
/// an end within 2 s in all.
const FAREWELL: Duration = Duration::from_millis(1500);

/// Opens the line and keeps it until it is stopped.
pub(crate) fn run(run: cli::Run, verbosity: Verbosity) -> Result<(), Failure> {
    let console = wants_console(&run)?;
    let format = if run.json { Format::Json } else { Format::Text };
    let level = if console { LevelFilter::WARN } else { LevelFilter::INFO };
    let logs = log::init(verbosity, level, format)?;
    raise_descriptor_limit();
    let room = room(&run);
    runtime()?.block_on(serve(
        run,
        room,
        console,
        Announce { json: format == Format::Json },
        logs,
        verbosity,
    ))
}

fn wants_console(run: &cli::Run) -> Result<bool, Failure> {
    if run.console && !cfg!(feature = "console") {
        return Err(Failure::new(Exit::Usage, "this helpline-server was built without a console")
            .hint("leave --console out and sign on with: helpline desk"));
    }
    if run.console && !terminal::is_interactive() {
        return Err(Failure::new(Exit::Usage, "there is no terminal here for a console")
            .hint("leave --console out and sign on with: helpline desk"));
    }
    Ok(cfg!(feature = "console") && !run.no_console && terminal::is_interactive())
}

fn runtime() -> Result<Runtime, Failure> {
    // The core has a thread of its own. Beside it more than a core's worth of I/O only makes the
    // slowest answers slower.
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut builder = match cores.saturating_sub(1).clamp(1, 4) {
        // Alone it needs no queue that others take from.
        1 => Builder::new_current_thread(),
        workers => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(workers);
            builder
        }
    };
    builder
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Other, "cannot start").because(error))
}

/// Every connection is a descriptor, and the customary soft limit of 1,024 is for programs that
/// use `select`.
pub(crate) fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open connections");
    }
}

/// How many may be connected.
pub(crate) fn room(run: &cli::Run) -> Room {
    let descriptors = getrlimit(Resource::Nofile).current;
    Room::within(descriptors, run.limits.strangers.get(), run.connections_per_address())
}

async fn serve(
    run: cli::Run,
    room: Room,
    console: bool,
    announce: Announce,
    logs: log::Logs,
    verbosity: Verbosity,
) -> Result<(), Failure> {
    let directory = data::directory(run.data.data.as_deref()).map_err(|error| {
        Failure::new(Exit::Config, error.to_string()).hint("say where with --data DIR")
    })?;
    let (callers_per_address, memory) = (run.callers_per_address(), run.memory());
    let operator = console.then(|| operator_name(run.name)).transpose()?;
    let mut terminate = handler(SignalKind::terminate())?;
    // Without a console the terminal is nobody's business.
    let hears_hang_up = console && !terminal::is_hangup_ignored();
    let mut hang_up = if hears_hang_up { Some(handler(SignalKind::hangup())?) } else { None };
    let mut interrupt = handler(SignalKind::interrupt())?;
    let line = run.line.clone();
    if run.plaintext {
        tracing::warn!(
            "plaintext is taken from other machines: whoever is on the way can read and change what is said, \
             and take over operators' tokens"
        );
    }
    let mut server = Server::start(Settings {
        listen: run.listen,
        data: directory.clone(),
        line: run.line,
        rules: Rules {
            places: run.places.get(),
            waiting_grace: seconds(run.waiting_grace),
            call_grace: seconds(run.call_grace),
            operator_grace: seconds(run.operator_grace),
        },
        policy: Policy {
            invite_only: run.invite_only,
            private: run.private,
            keep: run.keep.map(NonZeroU32::get).or(run.private.then_some(1)).map(days),
            callers_per_address,
            limit_loopback: run.limits.limit_loopback,
        },
        greeting: run.greeting,
        says_a_second: Some(run.says).filter(|says| *says > 0),
        certificate: certificate(run.tls_cert, run.tls_key),
        plaintext: if run.plaintext { Plaintext::FromAnywhere } else { Plaintext::FromHere },
        room,
        memory,
    })
    .await
    .map_err(start_failure)?;
    announce.ready(&server, &line, operator.as_ref(), &directory);

    let mut console = Console::open(operator, &directory, &mut server, &logs, verbosity)?;
    let drain = seconds(run.drain);
    let mut ends_at = None;
    let ended = loop {
        tokio::select! {
            ended = server.ended() => break ended,
            () = tokio::time::sleep_until(ends_at.unwrap_or_else(Instant::now)), if ends_at.is_some() => {
                server.end().await;
                break server.ended().await;
            }
            _ = terminate.recv() => {}
            () = received(hang_up.as_mut()) => {}
            _ = interrupt.recv() => {}
            () = console.interrupted() => {}
        }
        if ends_at.is_some() {
            server.end().await;
            break server.ended().await;
        }
        ends_at = Some(Instant::now() + drain);
        console.stopping(run.drain).await;
        announce.stopping(run.drain);
        server.stop().await;
    };
    server.farewell(FAREWELL.min(limits::LINGER)).await;
    console.close().await;
    ended.map_err(run_failure)
}

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 60 * 60)
}

/// Both or none: the command line sees to that.
fn certificate(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Option<Files> {
    Some(Files { certificate: certificate?, key: key? })
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

fn handler(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(Exit::Other, "cannot handle signals").because(error))
}

fn operator_name(given: Option<Name>) -> Result<Name, Failure> {
    given.map_or_else(
        || {
            let login = terminal::login_name();
            Name::typed(&login).map_err(|error| {
                Failure::new(Exit::Usage, format!("cannot answer as {login:?}"))
                    .because(error)
                    .hint("say under which name with --name NAME")
            })
        },
        Ok,
    )
}

fn start_failure(error: StartError) -> Failure {
    use helpline_server::{data::DataError, listen::ListenError, tls::TlsError};
    let exit = match &error {
        StartError::Data(DataError::Taken(_)) | StartError::Listen(ListenError::Taken(_)) => {
            Exit::Unavailable
        }
        StartError::Data(_) | StartError::Listen(_) | StartError::Tls(_) => Exit::Config,
        StartError::Store(_) | StartError::System(_) => Exit::IoError,
    };
    let hint = match &error {
        StartError::Data(DataError::Taken(_)) => {
            "stop it, or keep these calls elsewhere: --data DIR"
        }
        StartError::Data(_) => "keep calls elsewhere: --data DIR",
        StartError::Listen(ListenError::Taken(_)) => "stop it, or answer elsewhere: --listen PORT",
        StartError::Listen(_) => "answer elsewhere: --listen HOST:PORT",
        StartError::Tls(TlsError::Damaged(..)) => {
            "put it back from a backup; or remove it, and the line makes another: then everybody who knows \
             this line has to forget it first (helpline forget)"
        }
        StartError::Tls(TlsError::Unkept(_)) => "keep calls elsewhere: --data DIR",
        StartError::Tls(
            TlsError::Unreadable(..)
            | TlsError::NoCertificate(..)
            | TlsError::NoKey(..)
            | TlsError::Unfit { .. },
        ) => {
            "give the certificate with its chain and its private key, as PEM: --tls-cert FILE --tls-key FILE"
        }
        StartError::Tls(TlsError::Setup(_)) => "",
        StartError::Store(_) | StartError::System(_) => "",
    };
    let failure = Failure::new(exit, error.to_string());
    let failure = match std::error::Error::source(&error) {
        Some(cause) if matches!(error, StartError::Store(_) | StartError::System(_)) => {
            failure.because(cause)
        }
        _ => failure,
    };
    if hint.is_empty() { failure } else { failure.hint(hint) }
}

fn run_failure(error: RunError) -> Failure {
    match error {
        RunError::Store(cause) => Failure::new(Exit::IoError, "the store failed")
            .because(cause)
            .hint("nothing unrecorded was shown as said; free space or mend the disk, then start again"),
        RunError::Core => Failure::new(Exit::Other, "the core panicked")
            .hint("nothing unrecorded was shown as said; please report this, then start again"),
    }
}

/// What the host of the line is told about it.
#[derive(Clone, Copy)]
struct Announce {
    json: bool,
}

impl Announce {
    fn ready(self, server: &Server, line: &LineName, operator: Option<&Name>, directory: &Path) {
        let kept = data::display(directory);
        let fingerprint = server.fingerprint();
        for address in server.addresses() {
            if self.json {
                let ready = json!({
                    "event": "listening",
                    "addr": address.to_string(),
                    "data": directory.display().to_string(),
                    "operator": operator.map(Name::as_str),
                    "fingerprint": fingerprint.to_string(),
                    "link": link(*address, line, fingerprint),
                });
                say(&ready.to_string());
            } else {
                say(&format!("listening on {address}"));
            }
        }
        let link_to = |address: &SocketAddr| link(*address, line, fingerprint);
        let elsewhere = server.addresses().iter().find(|address| !is_of_this_machine(address));
        if let Some(address) = elsewhere.filter(|_| !self.json) {
            say(&format!("callers elsewhere: helpline call {}", link_to(address)));
        }
        if server.key() == Key::Made && !self.json {
            say(&format!("made this line's key; its fingerprint is {fingerprint}"));
            if let Some(address) = server.addresses().first().filter(|_| elsewhere.is_none()) {
                say(&format!("a link with it: {}", link_to(address)));
            }
        }
        let Kept { waiting, talking } = server.kept();
        if waiting + talking > 0 {
            tracing::info!(waiting, talking, "calls of before go on");
        }
        let Some(first) = server.addresses().first().filter(|_| !self.json) else { return };
        let here = match first.ip() {
            IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            one => one,
        };
        let dial = if first.port() == helpline_server::listen::PORT {
            here.to_string()
        } else {
            SocketAddr::new(here, first.port()).to_string()
        };
        match operator {
            Some(name) => {
                say(&format!("you answer as {name}; calls are kept in {kept}"));
                say(&format!("from a second terminal: helpline call {dial}"));
            }
            None => say(&format!("no console here; sign on with: helpline desk {dial}")),
        }
    }

    fn stopping(self, drain: u32) {
        tracing::info!(event = "stopping", drain, "{}", stopping(drain));
    }
}

fn is_of_this_machine(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// How others find the line and know that it is the one: where it answers, its name and its key.
fn link(address: SocketAddr, line: &LineName, fingerprint: Fingerprint) -> String {
    let own = uname().nodename().to_string_lossy().into_owned();
    let host = if address.ip().is_unspecified() && is_a_name(&own) {
        own
    } else {
        address.ip().to_string()
    };
    let (line, fingerprint) = (Some(line.clone()), Some(fingerprint));
    Address { host, port: address.port(), line, fingerprint }.link().to_string()
}

fn is_a_name(host: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    !host.is_empty() && host.bytes().all(fits)
}

/// Says a line on stderr, whatever the log level. A server doesn't end because nobody reads it.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

pub(crate) fn stopping(drain: u32) -> String {
    format!(
        "the line is closing; calls may finish, at most {drain} s; a second ^C or SIGTERM ends now"
    )
}
