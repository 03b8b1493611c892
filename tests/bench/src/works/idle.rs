//! Connections on which nothing happens: what each costs in memory, and all of them in processor time.

use std::{fs, io, thread, time::Duration};

use crate::{
    figures::{Values, keys},
    load::{Load, Talk},
    process::Process,
    rivals::{Place, Rival},
    works::{
        crowd::Crowd,
        line::{Line, Sessions},
    },
};

/// How long a server is left alone before its memory is looked at.
const SETTLES: Duration = Duration::from_millis(300);

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

/// Lines that each end has said or heard before it is silent again.
const LINES: u64 = 300;

/// Pairs are silent, talk for an hour's worth of lines without its pauses, and are silent again.
pub(crate) fn talked(rival: Rival, place: &Place, count: usize) -> io::Result<Values> {
    let running = rival.start(place)?;
    let before = settled(&running.process)?;
    let pairs = running.protocol.pairs(running.at, count.div_ceil(2))?;
    let mut load = Load::new(pairs, running.protocol.acknowledges())?;
    let each = |load: &mut Load| -> io::Result<f64> {
        load.rest(SETTLES)?;
        Ok(running.process.resident()?.saturating_sub(before) as f64 / count as f64)
    };
    let fresh = each(&mut load)?;
    load.say_each(Talk { in_flight: 1, answered: true }, LINES / 2)?;
    let talked = each(&mut load)?;
    Ok(Values::from([(keys::KIB_EACH, talked), (keys::KIB_FRESH, fresh)]))
}

/// A line to which nobody is connected: its memory, and the size of its program.
pub(crate) fn alone(rival: Rival, place: &Place) -> io::Result<Values> {
    let running = rival.start(place)?;
    let resident = settled(&running.process)? as f64 / 1024.0;
    let bytes = fs::metadata(&place.helpline_server)?.len();
    Ok(Values::from([(keys::RESIDENT, resident), (keys::BYTES, bytes as f64)]))
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
        (keys::RESIDENT, before as f64 / 1024.0),
        (keys::KIB_EACH, grown as f64 / crowd.count() as f64),
        (keys::CORE, cpu.as_secs_f64() / lasts.as_secs_f64()),
    ]))
}
