//! Connections on which nothing happens: what each costs in memory, and all of them in processor time.

use std::{io, thread, time::Duration};

use crate::{
    figures::{Values, keys},
    process::Process,
    rivals::{Place, Rival},
    works::{
        crowd::Crowd,
        line::{Line, Sessions},
    },
};

/// How long a server is left alone before its memory is looked at.
const SETTLES: Duration = Duration::from_millis(500);

/// As many connections wait; then so long their server is watched. For a line these are callers who wait for an answer,
/// for others both ends of conversations in which nothing is said.
pub(crate) fn wait(
    rival: Rival,
    place: &Place,
    count: usize,
    watched: Duration,
) -> io::Result<Values> {
    if let Some(line) = Line::of(rival, place, Sessions::Resumed)? {
        let before = settled(&line.process)?;
        let crowd = Crowd::callers(&line, count)?;
        return watch(&line.process, crowd, before, watched);
    }
    let running = rival.start(place)?;
    let before = settled(&running.process)?;
    let crowd = Crowd::pairs(rival, running.protocol.as_ref(), running.at, count)?;
    watch(&running.process, crowd, before, watched)
}

/// Resident memory of a server that has just started, in KiB.
pub(crate) fn settled(process: &Process) -> io::Result<u64> {
    thread::sleep(SETTLES);
    process.resident()
}

fn watch(process: &Process, mut crowd: Crowd, before: u64, lasts: Duration) -> io::Result<Values> {
    crowd.wait(SETTLES)?;
    let cpu = process.cpu()?;
    crowd.wait(lasts)?;
    let cpu = process.cpu()?.saturating_sub(cpu);
    let grown = process.resident()?.saturating_sub(before);
    Ok(Values::from([
        (keys::KIB_EACH, grown as f64 / crowd.count() as f64),
        (keys::CORE, cpu.as_secs_f64() / lasts.as_secs_f64()),
    ]))
}
