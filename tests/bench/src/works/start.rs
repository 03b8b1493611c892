//! Starting: from the program's start to its answering, with so much kept from before.

use std::io;

use crate::{
    figures::{Values, keys},
    load::{Load, Talk},
    rivals::{Place, Rival},
    speak::Protocol as _,
    summary::median,
    works::{
        idle,
        line::{Line, Sessions},
    },
};

/// Calls that the entries are of.
const CALLS: u64 = 50;

/// How often it is started on the same calls.
const STARTS: usize = 5;

/// Has a line record so many entries, in calls that go on; kills it, and starts it again and again.
pub(crate) fn start(rival: Rival, place: &Place, entries: u64) -> io::Result<Values> {
    let line = Line::of(rival, place, Sessions::Resumed)?;
    let mut line = line.ok_or(io::Error::from(io::ErrorKind::Unsupported))?;
    let first = line.took;
    if entries > 0 {
        let calls = usize::try_from(CALLS).map_err(io::Error::other)?;
        let pairs = line.helpline.pairs(line.at, calls)?;
        let mut load = Load::new(pairs, true)?;
        load.say_each(Talk { in_flight: 64, answered: false }, entries.div_ceil(CALLS))?;
    }
    let mut took = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        line = line.again(place)?;
        took.push(line.took.as_secs_f64() * 1e3);
    }
    let longest = took.iter().copied().fold(0.0, f64::max);
    Ok(Values::from([
        (keys::TOOK, median(took).unwrap_or_default()),
        (keys::LONGEST, longest),
        (keys::FIRST, first.as_secs_f64() * 1e3),
        (keys::RESIDENT, idle::settled(&line.process)? as f64 / 1024.0),
    ]))
}
