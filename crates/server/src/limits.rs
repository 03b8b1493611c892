//! `helpline-server limits`: every limit there is, and why.

use std::{
    fmt,
    io::{self, Write},
    time::Duration,
};

use helpline_cli_common::exit::{Exit, Failure};
use helpline_proto::limits;
use serde_json::json;

use crate::{cli, run};

/// A limit as it is shown.
struct Limit {
    name: &'static str,
    most: Most,
    by: By,
    why: &'static str,
}

/// How much there is at most.
#[derive(Clone, Copy)]
enum Most {
    Count(u64),
    Bytes(u64),
    Time(Duration),
    Any,
}

/// Who sets a limit.
#[derive(Clone, Copy)]
enum By {
    Option(&'static str),
    System,
    Protocol,
}

/// Shows all limits as a server with these options has them.
pub(crate) fn show(run: &cli::Run) -> Result<(), Failure> {
    run::raise_descriptor_limit();
    let all: Vec<Limit> = settable(run).into_iter().chain(fixed()).collect();
    let mut out = io::stdout().lock();
    let shown = if run.json { as_json(&mut out, &all) } else { as_table(&mut out, &all) };
    match shown.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::IoError, "cannot write the limits").because(error))
        }
        _ => Ok(()),
    }
}

fn settable(run: &cli::Run) -> Vec<Limit> {
    let set = |name, most, option, why| Limit { name, most, by: By::Option(option), why };
    let room = run::room(run);
    let says = if run.says == 0 { Most::Any } else { Most::Count(run.says.into()) };
    vec![
        set(
            "callers waiting",
            Most::Count(run.places.get().into()),
            "--places",
            "the next one hears busy, instead of waiting for hours",
        ),
        set(
            "callers waiting, of one address",
            any_or(run.callers_per_address()),
            "--callers-per-address",
            "nobody has the queue to themselves",
        ),
        set(
            "connections of one address",
            any_or(run.connections_per_address()),
            "--connections-per-address",
            "a school or an office fits, a flood doesn't",
        ),
        set(
            "connections not let in yet",
            count(room.strangers),
            "--strangers",
            "being let in takes a moment; the oldest makes room for the newest",
        ),
        Limit {
            name: "connections",
            most: count(room.connections),
            by: By::System,
            why: "each is an open file, and some are kept for the database and the logs",
        },
        set(
            "waiting for all peers together",
            bytes(run.memory()),
            "--memory",
            "past it each gets a little, and the rest from the database later",
        ),
        set("texts a second", says, "--says", "faster ones are slowed down, none is dropped"),
        set(
            "a caller away before an answer",
            seconds(run.waiting_grace),
            "--waiting-grace",
            "a tunnel, a router that restarts",
        ),
        set(
            "a caller away in a call",
            seconds(run.call_grace),
            "--call-grace",
            "there is something to come back to",
        ),
        set(
            "an operator away",
            seconds(run.operator_grace),
            "--operator-grace",
            "their caller is kept waiting by it",
        ),
        set(
            "calls going on while the line closes",
            seconds(run.drain),
            "--drain",
            "somebody waits for the server to be gone",
        ),
    ]
}

fn fixed() -> Vec<Limit> {
    [
        ("one text", bytes(limits::TEXT), "a page and a half, or a stack trace"),
        ("a name", bytes(limits::NAME), "the longest personal names fit"),
        ("a token or an invitation", bytes(limits::SECRET), "twice what 32 random bytes need"),
        (
            "a frame before being let in",
            Most::Bytes(limits::FRAME_BEFORE.into()),
            "strangers are given nothing to make the server allocate",
        ),
        ("a frame", Most::Bytes(limits::FRAME.into()), "a text, and room for later versions"),
        ("texts at once", Most::Count(limits::SAYS_AT_ONCE.into()), "a pasted list"),
        (
            "being let in, TLS included",
            Most::Time(limits::HANDSHAKE),
            "a bad link manages; a port scanner holds nothing for longer",
        ),
        (
            "the rest of a frame",
            Most::Time(limits::REST_OF_FRAME),
            "the largest one at 7 KB a second",
        ),
        (
            "silence",
            Most::Time(limits::SILENCE),
            "a sign of life is due every 15 s, and two may be lost",
        ),
        (
            "waiting for one peer",
            bytes(limits::OUTBOX),
            "then it is told from the database instead",
        ),
        (
            "a peer taking nothing",
            Most::Time(limits::NO_PROGRESS),
            "then it is cut, and may come back",
        ),
        ("a closed connection", Most::Time(limits::LINGER), "the last words have to arrive"),
        (
            "the end of a call, unanswered",
            Most::Time(limits::END_SEEN),
            "for a client to say that it was shown",
        ),
        ("calls resumed at once", count(limits::RESUMED_CALLS), "an operator's, and more"),
        (
            "the first in line, away",
            Most::Time(limits::PASSED_OVER),
            "most broken connections are back sooner",
        ),
        (
            "a caller away, keeping an operator",
            Most::Time(limits::LET_GO),
            "who asks for the next one",
        ),
        (
            "the same, of one who answers by itself",
            Most::Time(limits::LET_GO_BY_ITSELF),
            "who asks for nobody",
        ),
        ("a ban from a desk", Most::Time(limits::BAN_LONGEST), "addresses change hands"),
        ("waiting callers on a board", count(limits::BOARD_FIRST), "a screen"),
        ("calls on a board", count(limits::BOARD_TALKING), "a frame"),
        ("boards, one in", Most::Time(limits::BOARD_EVERY), "nobody reads faster"),
        ("typing passed on, once in", Most::Time(limits::TYPING_EVERY), "no screen changes faster"),
    ]
    .map(|(name, most, why)| Limit { name, most, by: By::Protocol, why })
    .into()
}

fn as_table(out: &mut impl Write, all: &[Limit]) -> io::Result<()> {
    writeln!(out, "{:38}  {:>8}  {:25}  WHY", "LIMIT", "AT MOST", "SET BY")?;
    all.iter().try_for_each(|Limit { name, most, by, why }| {
        let by = match by {
            By::Option(option) => option,
            By::System => "the limit of open files",
            By::Protocol => "fixed by the protocol",
        };
        writeln!(out, "{name:38}  {:>8}  {by:25}  {why}", most.to_string())
    })
}

fn as_json(out: &mut impl Write, all: &[Limit]) -> io::Result<()> {
    all.iter().try_for_each(|Limit { name, most, by, why }| {
        let (most, unit) = match most {
            Most::Count(count) => (Some(*count), None),
            Most::Bytes(bytes) => (Some(*bytes), Some("bytes")),
            Most::Time(time) => (Some(time.as_secs()), Some("seconds")),
            Most::Any => (None, None),
        };
        let (by, option) = match by {
            By::Option(option) => ("option", Some(option)),
            By::System => ("system", None),
            By::Protocol => ("protocol", None),
        };
        let limit =
            json!({"limit": name, "most": most, "unit": unit, "by": by, "option": option, "why": why});
        writeln!(out, "{limit}")
    })
}

impl fmt::Display for Most {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Bytes(bytes) => match (bytes % (1024 * 1024), bytes % 1024) {
                (0, _) => write!(f, "{} MiB", bytes / (1024 * 1024)),
                (_, 0) => write!(f, "{} KiB", bytes / 1024),
                _ => write!(f, "{bytes} B"),
            },
            Self::Time(time) => match (time.as_secs() % 86_400, time.as_secs()) {
                (0, days) if days > 0 => write!(f, "{} d", days / 86_400),
                (_, seconds) => write!(f, "{seconds} s"),
            },
            Self::Any => f.write_str("any"),
        }
    }
}

fn any_or(most: Option<u32>) -> Most {
    most.map_or(Most::Any, |most| Most::Count(most.into()))
}

fn count(most: usize) -> Most {
    Most::Count(u64::try_from(most).unwrap_or(u64::MAX))
}

fn bytes(most: usize) -> Most {
    Most::Bytes(u64::try_from(most).unwrap_or(u64::MAX))
}

fn seconds(most: u32) -> Most {
    Most::Time(Duration::from_secs(most.into()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn shown(args: &[&str]) -> Vec<String> {
        let args = [&["helpline-server"], args].concat();
        let cli = cli::Cli::try_parse_from(args).unwrap();
        let mut out = Vec::new();
        as_table(&mut out, &settable(&cli.run))
            .and_then(|()| as_table(&mut out, &fixed()))
            .unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    fn row(lines: &[String], name: &str) -> String {
        let row = lines.iter().find(|line| line.starts_with(&format!("{name}  "))).unwrap();
        row.split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .take(3)
            .collect::<Vec<_>>()
            .join(" | ")
    }

    #[test]
    fn every_limit_is_shown_as_it_is_set() {
        let lines = shown(&[]);
        for (name, rest) in [
            ("callers waiting", "4 | --places"),
            ("callers waiting, of one address", "2 | --callers-per-address"),
            ("connections of one address", "64 | --connections-per-address"),
            ("waiting for all peers together", "256 MiB | --memory"),
            ("one text", "16 KiB | fixed by the protocol"),
            ("a frame before being let in", "1 KiB | fixed by the protocol"),
            ("a ban from a desk", "30 d | fixed by the protocol"),
            ("silence", "45 s | fixed by the protocol"),
        ] {
            assert_eq!(row(&lines, name), format!("{name} | {rest}"));
        }
        let options = ["--places", "5", "--connections-per-address", "0", "--says", "0"];
        let lines = shown(&options);
        for (name, most) in [
            ("callers waiting, of one address", "3"),
            ("connections of one address", "any"),
            ("texts a second", "any"),
        ] {
            let row = row(&lines, name);
            assert!(row.starts_with(&format!("{name} | {most} | ")), "{row}");
        }
        let lines = shown(&["--callers-per-address", "0", "--memory", "1"]);
        let row_of = |name| row(&lines, name);
        assert!(row_of("callers waiting, of one address").contains("| any |"));
        assert!(row_of("waiting for all peers together").contains("| 1 MiB |"));
    }

    #[test]
    fn the_columns_hold_what_is_in_them() {
        let lines = shown(&[]);
        let why = lines[0].find("WHY").unwrap();
        for line in &lines {
            assert!(line.get(..why).is_some_and(|cells| cells.ends_with("  ")), "{line}");
        }
    }

    #[test]
    fn each_limit_is_an_object() {
        let mut out = Vec::new();
        as_json(&mut out, &fixed()).unwrap();
        let first = String::from_utf8(out).unwrap().lines().next().unwrap().to_owned();
        let first: serde_json::Value = serde_json::from_str(&first).unwrap();
        assert_eq!(first["limit"], "one text");
        assert_eq!(first["most"], 16 * 1024);
        assert_eq!(
            (first["unit"].as_str(), first["by"].as_str()),
            (Some("bytes"), Some("protocol"))
        );
        assert!(first["option"].is_null());
    }
}
