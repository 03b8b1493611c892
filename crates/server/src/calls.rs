//! `helpline-server calls`: what was said, to look at.

use std::io::{self, BufWriter, Write};

use helpline_cli_common::{
    clean,
    exit::{Exit, Failure},
};
use helpline_proto::{
    ids::{By, Side},
    json,
    message::Ref,
};
use helpline_server::{
    access::Did,
    calendar, data, store,
    store::reading::{Reading, State, Summary},
    tell,
};
use helpline_switchboard::{Entry, Item, Why};
use serde_json::json;

use crate::{
    admin, cli,
    listing::{Stop, finish},
};

/// Digits of a call's identifier in a list: enough to tell a few thousand apart, and to type.
const DIGITS: usize = 12;

/// Lists the calls.
pub(crate) fn list(how: &cli::Reading) -> Result<(), Failure> {
    let reading = open(how)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let shown = if how.json {
        reading.calls(|call| writeln!(out, "{}", summary_json(&call)).map_err(Stop::Output))
    } else {
        let columns = ["CALL", "OPENED", "STATE", "CALLER", "OPERATOR"];
        let [call, opened, state, caller, operator] = columns;
        let head = writeln!(out, "{call:DIGITS$}  {opened:20}  {state:9}  {caller:20}  {operator}");
        head.map_err(Stop::Output).and_then(|()| {
            reading.calls(|call| {
                let id = call.call.to_hex();
                writeln!(
                    out,
                    "{}  {}  {:9}  {:20}  {}",
                    id.get(..DIGITS).unwrap_or(&id),
                    calendar::utc(call.opened_at),
                    state_name(call.state),
                    clean::line(&call.name),
                    clean::line(call.operator.as_deref().unwrap_or("-")),
                )
                .map_err(Stop::Output)
            })
        })
    };
    finish(shown.and_then(|()| out.flush().map_err(Stop::Output)))
}

/// Shows what was said in a call.
pub(crate) fn show(digits: &str, how: &cli::Reading) -> Result<(), Failure> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(Failure::new(Exit::Usage, format!("{digits:?} is not a call"))
            .hint("calls are hexadecimal digits: helpline-server calls list"));
    }
    let reading = open(how)?;
    let found = reading.find(digits).map_err(admin::failed)?;
    let [call] = found.as_slice() else {
        let what =
            if found.is_empty() { "no call begins with" } else { "several calls begin with" };
        return Err(Failure::new(Exit::Other, format!("{what} {digits}"))
            .hint("to see which there are: helpline-server calls list"));
    };
    // Before anything is shown: who can't be named sees nothing.
    let did = if how.json { Did::Exported } else { Did::LookedAt };
    let audit = admin::audit(did, call.call.to_hex());
    admin::open(&how.data)?.audit(&audit).map_err(admin::failed)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let shown = reading.entries(call, |entry| {
        if how.json {
            let message = tell::entry(call.call, entry);
            let line = json::encode(&message, Ref::NONE).unwrap_or_default();
            writeln!(out, "{}", clean::json_escape(&line)).map_err(Stop::Output)
        } else {
            write_entry(&mut out, &entry).map_err(Stop::Output)
        }
    });
    finish(shown.and_then(|()| out.flush().map_err(Stop::Output)))
}

fn open(how: &cli::Reading) -> Result<Reading, Failure> {
    let file = data::directory(how.data.data.as_deref())
        .and_then(|directory| data::existing(&directory, store::DATABASE))
        .map_err(|error| {
            Failure::new(Exit::Config, error.to_string())
                .hint("--data DIR says where calls are kept")
        })?;
    Reading::open(&file).map_err(admin::failed)
}

fn summary_json(call: &Summary) -> String {
    let summary = json!({
        "call": call.call.to_hex(),
        "line": call.line,
        "name": call.name,
        "operator": call.operator,
        "opened_at": call.opened_at.0,
        "answered_at": call.answered_at.map(|at| at.0),
        "closed_at": call.closed_at.map(|at| at.0),
        "state": state_name(call.state),
    });
    clean::json_escape(&summary.to_string())
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Connected => "connected",
        State::Ended => "ended",
    }
}

fn write_entry(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    let time = calendar::utc(entry.at);
    match &entry.item {
        Item::Said { name, text, .. } => {
            for (n, line) in clean::lines(text.as_str()).enumerate() {
                if n == 0 {
                    writeln!(out, "{time}  {}: {line}", clean::line(name.as_str()))?;
                } else {
                    writeln!(out, "{:22}  {line}", "")?;
                }
            }
            Ok(())
        }
        Item::Joined { from, name } => {
            let role = role(*from);
            writeln!(out, "{time}  -- {}, the {role}, joined", clean::line(name.as_str()))
        }
        Item::Left { from, name } => {
            let role = role(*from);
            writeln!(out, "{time}  -- {}, the {role}, left", clean::line(name.as_str()))
        }
        Item::Ended { by, why } => writeln!(out, "{time}  -- {}", ending(*by, *why)),
    }
}

fn role(side: Side) -> &'static str {
    match side {
        Side::Caller => "caller",
        Side::Operator => "operator",
    }
}

fn ending(by: By, why: Why) -> &'static str {
    match (by, why) {
        (By::Caller, Why::Bye) => "the caller hung up",
        (By::Operator, Why::Bye) => "the operator hung up",
        (By::Caller, Why::Abandoned) => "the caller left before anybody answered",
        (By::Operator, Why::Banned) => "the operator ended the call and banned the caller",
        (_, Why::Banned) => "the caller was banned",
        (_, Why::TimedOut) => "the caller did not come back",
        _ => "the call ended",
    }
}
