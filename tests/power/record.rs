//! Everything a server asks of its disk, is asked and tells its peers, in the order it does so.
//!
//! `strace` stops a thread before each system call and after it, one thread at a time, and writes as
//! it goes. So what a thread does because of what another has done stands behind it, whatever the
//! clocks say.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use helpline_proto::{
    frame, limits,
    message::Message,
    text::{Name, Secret},
};
use helpline_server::store::DATABASE;
use helpline_tests::{
    Home, Manner, PATIENCE, Server, ServerSetup, Talkers, accounts, dice::Dice, released,
    wait_until,
};
use rustix::process::Signal;

use crate::disk::{Op, Synced};

/// The system calls by which a server can change its files or tell its peers anything. Those that it
/// never makes are traced to see that it doesn't.
const CALLS: &str = "trace=creat,open,openat,openat2,write,writev,pwrite64,pwritev,pwritev2,\
    ftruncate,truncate,fallocate,copy_file_range,sendfile,splice,fsync,fdatasync,sync_file_range,\
    msync,unlink,unlinkat,rename,renameat,renameat2,link,linkat,sendto,sendmsg,sendmmsg,\
    recvfrom,recvmsg,recvmmsg,io_uring_enter,io_submit";

/// Lines said in one life of the server that isn't cut short.
const LINES: usize = 2500;

const CALLERS: usize = 5;
const OPERATORS: usize = 2;

/// Calls of a few dozen lines, of which a few are under way at once.
const MANNER: Manner = Manner { lines: 50, at_once: 4 };

/// The sync at whose beginning the first life ends.
const SYNCS: usize = 700;

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A change began, or a sync was done.
    Disk(Op),
    /// A message began to be written to a connection.
    Told(Connection, Message),
    /// A message was about to be read from a connection.
    Asked(Connection, Message),
}

/// One connection of the server, by its order.
pub(crate) type Connection = usize;

/// Records three lives of the release program with callers and operators talking all the time: it is killed,
/// stopped, and stopped once more. Whoever talks goes on in the next life where the last one has ended, and the
/// checker finds all of it as it should be.
pub(crate) fn record(home: &Home, trace: &Path, dice: &mut Dice) {
    // The first with what was said last in the log but not synced: the next finds it there. Where
    // only the calls traced stop the server (--seccomp-bpf), strace can send no signal.
    let killed = format!("--inject=fsync:signal=KILL:when={SYNCS}");
    let tokens = home.path().join("tokens");
    let mut talkers = Talkers::in_plaintext();
    let mut server = Server::with().home(home).says(0).drain(0).places(100).program(released());
    for life in 0..3 {
        let how = if life == 0 { killed.as_str() } else { "--seccomp-bpf" };
        let mut lives = traced(server, trace, how, &tokens).start();
        if life == 0 {
            let tokens = fs::read_to_string(&tokens).unwrap();
            assert_eq!(tokens.lines().count(), OPERATORS, "{tokens}");
            for (n, token) in tokens.lines().enumerate() {
                let name = Name::new(operator(n)).unwrap();
                accounts::give(lives.address(), &name, Secret::new(token).unwrap());
                talkers.operator(lives.address(), dice, MANNER);
            }
            for _ in 0..CALLERS {
                talkers.caller(lives.address(), dice, MANNER);
            }
        } else {
            talkers.wait_until_said(talkers.said() + LINES);
        }
        if life == 2 {
            talkers.finish(2 * PATIENCE);
        }
        if life > 0 {
            lives.signal(Signal::TERM);
        }
        let code = lives.wait_within(2 * PATIENCE).code;
        assert_eq!(code, if life > 0 { 0 } else { 128 + Signal::KILL.as_raw() });
        let last_words = format!("\n{:<5} +++ ", lives.id());
        wait_until("the trace is complete", || tail(trace).contains(&last_words).then_some(()));
        server = lives.again();
    }
    let kept = talkers.judge(&home.data().join(DATABASE));
    kept.unwrap_or_else(|violation| panic!("{violation}"));
}

/// What the talkers call the operator who comes as this one.
fn operator(n: usize) -> String {
    format!("operator{}", n + 1)
}

/// The program under strace. Where there are no tokens yet, the operators get their accounts first: what that asks
/// of the disk is part of the trace.
fn traced(server: ServerSetup, trace: &Path, how: &str, tokens: &Path) -> ServerSetup {
    // As a grandchild (-D), so that the process started is the server itself; with the paths of
    // descriptors (-y); bytes whole and in hexadecimal; behind what the trace holds (-A).
    let strace = ["strace", "-D", "-f", "-y", "-xx", "-s", "1000000", "-A", "-e", CALLS, how, "-o"];
    let mut wrapper: Vec<OsString> = strace.iter().map(Into::into).collect();
    wrapper.push(trace.into());
    if !tokens.exists() {
        let names: Vec<String> = (0..OPERATORS).map(operator).collect();
        let each = format!("for name in {}", names.join(" "));
        let add = format!("\"$1\" operator add \"$name\" >> '{}' || exit 1", tokens.display());
        let script = format!("{each}; do {add}; done; exec \"$@\"");
        wrapper.extend(["sh", "-c", &script, "sh"].map(Into::into));
    }
    server.through(wrapper)
}

fn tail(trace: &Path) -> String {
    let mut tail = Vec::new();
    if let Ok(mut file) = fs::File::open(trace) {
        let size = file.metadata().unwrap().len();
        file.seek(SeekFrom::Start(size.saturating_sub(4096))).unwrap();
        file.read_to_end(&mut tail).unwrap();
    }
    String::from_utf8_lossy(&tail).into_owned()
}

/// Reads a trace. An event has the place of its beginning, but a sync that of its end.
pub(crate) fn events(trace: &Path) -> Vec<Event> {
    let text = fs::read_to_string(trace).unwrap();
    let mut reader = Reader::default();
    for line in text.lines() {
        reader.line(line);
    }
    reader.finish()
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    In,
    Out,
}

#[derive(Default)]
struct Reader<'a> {
    /// By the line it belongs to.
    events: Vec<Vec<Event>>,
    /// The calls that have begun: by thread, on which line and how.
    begun: HashMap<&'a str, (usize, &'a str)>,
    /// The line that ended the last change of the disk.
    changed: usize,
    directory: Option<String>,
    /// The connections, by what the system calls them.
    connections: HashMap<String, Connection>,
    /// How far each file was written by those who write it from its beginning to its end.
    written: HashMap<String, usize>,
    /// What has been sent of a frame, by connection, and what was received.
    begun_frames: HashMap<(Connection, Way), Vec<u8>>,
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: &'a str) {
        let here = self.events.len();
        self.events.push(Vec::new());
        let (thread, what) = line.split_once(' ').unwrap();
        let what = what.trim_start();
        if what.starts_with("+++ ") {
            if let Some((_, begun)) = self.begun.remove(thread) {
                self.cut_short(begun);
            }
        } else if what.starts_with("--- ") {
            // A signal.
        } else if let Some(begun) = what.strip_suffix("<unfinished ...>") {
            self.begun.insert(thread, (here, begun));
        } else if let Some(resumed) = what.strip_prefix("<... ") {
            let (since, begun) = self.begun.remove(thread).unwrap();
            let (_, rest) = resumed.split_once(" resumed>").unwrap();
            self.call(since, here, &format!("{begun}{rest}"));
        } else {
            self.call(here, here, what);
        }
    }

    fn finish(self) -> Vec<Event> {
        assert!(self.begun.is_empty(), "not to its end: {:?}", self.begun);
        self.events.into_iter().flatten().collect()
    }

    /// A call that a kill has cut short: it did nothing for sure. Only of a sync that is enough to know.
    fn cut_short(&self, call: &str) {
        let Some((name, arguments)) = call.split_once('(') else { return };
        let path = path(name, arguments);
        let changes = self.directory.as_ref().is_some_and(|directory| {
            path.starts_with(directory.as_str()) && !path.ends_with("-shm")
        });
        assert!(!changes || name == "fsync", "was it done before the kill? {call}");
    }

    /// A whole call, with its result.
    fn call(&mut self, since: usize, here: usize, call: &str) {
        let (asked, result) = call.rsplit_once(" = ").unwrap_or_else(|| panic!("{call}"));
        let (name, arguments) = asked.split_once('(').unwrap();
        let arguments = arguments.trim_end().strip_suffix(')').unwrap().trim_end();
        if result.starts_with('?') {
            return self.cut_short(call);
        }
        let result = result.split([' ', '<']).next().unwrap();
        let Ok(result) = usize::try_from(result.parse::<i64>().unwrap_or(-1)) else { return };
        let path = path(name, arguments);
        if path.starts_with("socket:") {
            let way = match name {
                "write" | "sendto" => Way::Out,
                "recvfrom" => Way::In,
                _ => panic!("not understood: {call}"),
            };
            let (bytes, _) = string(arguments);
            return self.carried(since, path, way, &bytes[..result]);
        }
        if let Some(op) = self.op(name, &path, arguments, result) {
            assert!(since >= self.changed, "two changes at once, in no order: {call}");
            self.changed = here;
            let at = if matches!(op, Op::Sync(_)) { here } else { since };
            self.events[at].push(Event::Disk(op));
        }
    }

    /// What a call does to the data directory; none if that is nothing that matters.
    fn op(&mut self, name: &str, path: &str, arguments: &str, result: usize) -> Option<Op> {
        let (parent, file) = path.rsplit_once('/')?;
        if self.directory.is_none() && file == DATABASE {
            self.directory = Some(parent.to_owned());
        }
        let directory = self.directory.as_deref()?;
        if path == directory {
            return match name {
                "fsync" | "fdatasync" => Some(Op::Sync(Synced::Directory)),
                "openat" => None,
                _ => panic!("not understood: {name}({arguments})"),
            };
        }
        // The lock is empty, and what is in memory only is made anew at the next start.
        if parent != directory || file == "lock" || file.ends_with("-shm") {
            return None;
        }
        let file = file.to_owned();
        Some(match name {
            "openat" => {
                let (_, flags) = string(arguments);
                assert!(!flags.contains("O_TRUNC"), "not understood: {flags}");
                return flags.contains("O_CREAT").then_some(Op::Create(file));
            }
            "unlink" => Op::Unlink(file),
            "rename" => {
                let (_, rest) = string(arguments);
                let to = String::from_utf8(string(rest).0).unwrap();
                let (in_directory, to) = to.rsplit_once('/').unwrap();
                assert_eq!(in_directory, directory);
                Op::Rename(file, to.to_owned())
            }
            "write" => {
                let (bytes, _) = string(arguments);
                assert_eq!(bytes.len(), result, "a short write, or not all of it in the trace");
                let at = self.written.entry(file.clone()).or_default();
                *at += result;
                Op::Write(file, *at - result, bytes.into())
            }
            "pwrite64" => {
                let (bytes, rest) = string(arguments);
                let (_, at) = rest.rsplit_once(", ").unwrap();
                assert_eq!(bytes.len(), result, "a short write, or not all of it in the trace");
                Op::Write(file, at.parse().unwrap(), bytes.into())
            }
            "ftruncate" => {
                let (_, size) = arguments.rsplit_once(", ").unwrap();
                Op::Truncate(file, size.parse().unwrap())
            }
            "fsync" | "fdatasync" => Op::Sync(Synced::File(file)),
            _ => panic!("not understood: {name}({arguments})"),
        })
    }

    fn carried(&mut self, since: usize, socket: String, way: Way, bytes: &[u8]) {
        let next = self.connections.len();
        let connection = *self.connections.entry(socket).or_insert(next);
        let begun = self.begun_frames.entry((connection, way)).or_default();
        begun.extend_from_slice(bytes);
        let mut bytes = &begun[..];
        // The process's own pipe for signals is a socket, too; what goes through it is no frame.
        while let Ok(Some(frame)) = frame::split(bytes, limits::FRAME) {
            let message = Message::decode(frame).unwrap();
            bytes = &bytes[frame.size()..];
            self.events[since].push(match way {
                Way::In => Event::Asked(connection, message),
                Way::Out => Event::Told(connection, message),
            });
        }
        *begun = bytes.to_vec();
    }
}

/// The file that a call is about: the one it names, else the one of its first descriptor.
fn path(name: &str, arguments: &str) -> String {
    let by_name = ["open", "creat", "unlink", "rename", "link", "truncate"];
    if by_name.iter().any(|by_name| name.starts_with(by_name)) {
        return String::from_utf8(string(arguments).0).unwrap();
    }
    let (_, rest) = arguments.split_once('<').unwrap_or(("", arguments));
    let (path, _) = rest.split_once('>').unwrap_or((rest, ""));
    String::from_utf8(bytes(path)).unwrap()
}

/// The first string of some arguments, and what stands behind it.
fn string(arguments: &str) -> (Vec<u8>, &str) {
    let (_, rest) = arguments.split_once('"').unwrap();
    let (string, rest) = rest.split_once('"').unwrap();
    assert!(!rest.starts_with("..."), "not all of it is in the trace: {rest}");
    (bytes(string), rest)
}

/// What is written as it is, or as `\x` and two digits a byte.
fn bytes(written: &str) -> Vec<u8> {
    if !written.starts_with("\\x") {
        return written.into();
    }
    let digit = |digit: u8| if digit < b'a' { digit - b'0' } else { digit - b'a' + 10 };
    let bytes = written.as_bytes().chunks_exact(4);
    bytes.map(|byte| digit(byte[2]) << 4 | digit(byte[3])).collect()
}
