//! Conversations: how many messages a second, what each costs, and how long it takes.

use std::io;

use crate::{
    figures::{Values, keys},
    load::{Load, Span, Talk},
    rivals::{Place, Rival},
};

/// Lets so many pairs talk.
pub(crate) fn talk(
    rival: Rival,
    place: &Place,
    pairs: usize,
    talk: Talk,
    span: Span,
) -> io::Result<Values> {
    let running = rival.start(place)?;
    let pairs = running.protocol.pairs(running.at, pairs)?;
    let mut load = Load::new(pairs, running.protocol.acknowledges())?;
    let mut measured = load.measure(talk, span, &running.process)?;
    if measured.done == 0 {
        return Err(io::Error::other("nothing was said"));
    }
    let done = measured.done as f64;
    let mut milliseconds = |percent| measured.latencies.within(percent).as_secs_f64() * 1e3;
    Ok(Values::from([
        (keys::P50, milliseconds(50)),
        (keys::P99, milliseconds(99)),
        (keys::RATE, done / measured.took.as_secs_f64()),
        (keys::CPU, measured.cpu.as_secs_f64() * 1e6 / done),
        (keys::RESIDENT, running.process.resident()? as f64 / 1024.0),
    ]))
}
