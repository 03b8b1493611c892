//! A long queue that is drained: callers wait, and hear their places; then operators sign on and take one after the
//! other.

use std::{
    io,
    time::{Duration, Instant},
};

use helpline_proto::{
    frame, limits,
    message::{Connected, EndSeen, Ended, HangUp, Message, Place as Told, Said, Say},
    text::Text,
};

use crate::{
    figures::{Values, keys},
    rivals::{Place, Rival},
    speak::{TEXT, helpline},
    works::{
        crowd::Crowd,
        line::{Line, Sessions},
    },
};

/// Who drains it.
const OPERATORS: usize = 100;

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Ends of calls, by their callers.
    ends: usize,
    /// Messages about places.
    told: usize,
}

/// So many wait; then each is answered, hears one line, and the operator hangs up. Both say that they have seen the
/// end. It counts from the first operator's sign-on to the last caller's end.
pub(crate) fn drain(rival: Rival, place: &Place, count: usize) -> io::Result<Values> {
    let line = Line::of(rival, place, Sessions::Resumed)?;
    let line = line.ok_or(io::Error::from(io::ErrorKind::Unsupported))?;
    let mut callers = Crowd::callers(&line, count)?;
    callers.wait(Duration::from_millis(200))?;
    let cpu = line.process.cpu()?;
    let begun = Instant::now();
    let mut wires = Vec::with_capacity(OPERATORS);
    for _ in 0..OPERATORS {
        let mut wire = line.helpline.dial(line.at, line.helpline.sign_on()?)?;
        wire.flush()?;
        wires.push(wire);
    }
    let mut operators = Crowd::new(wires)?;
    let text = Text::new(TEXT).map_err(io::Error::other)?;
    let mut seen = Seen::default();
    let (mut last, mut since) = (0, Instant::now());
    // Both wait for a moment only, so that neither keeps the other.
    let moment = Duration::from_millis(1);
    while seen.ends < count {
        operators.turn(moment, |_, bytes, out| operator(bytes, out, &text))?;
        callers.turn(Duration::ZERO, |_, bytes, out| caller(bytes, out, &mut seen))?;
        if seen.ends > last {
            (last, since) = (seen.ends, Instant::now());
        }
        if since.elapsed() > PATIENCE || callers.ended() > seen.ends || operators.ended() > 0 {
            return Err(io::Error::other(format!("only {} calls were answered", seen.ends)));
        }
    }
    let took = begun.elapsed();
    let cpu = line.process.cpu()?.saturating_sub(cpu);
    let count = count as f64;
    Ok(Values::from([
        (keys::TOOK, took.as_secs_f64() * 1e3),
        (keys::CPU_MS, cpu.as_secs_f64() * 1e3 / count),
        (keys::RATE, count / took.as_secs_f64()),
        (keys::TOLD, seen.told as f64 / count),
    ]))
}

fn caller(bytes: &[u8], out: &mut Vec<u8>, seen: &mut Seen) -> io::Result<usize> {
    each(bytes, &[Told::NUMBER, Ended::NUMBER], |message| match message {
        Message::Place(_) => {
            seen.told += 1;
            Ok(())
        }
        Message::Ended(ended) => {
            seen.ends += 1;
            helpline::put(out, EndSeen { call: ended.call })
        }
        _ => Ok(()),
    })
}

fn operator(bytes: &[u8], out: &mut Vec<u8>, text: &Text) -> io::Result<usize> {
    each(bytes, &[Connected::NUMBER, Said::NUMBER, Ended::NUMBER], |message| match message {
        Message::Connected(Connected { call, next_nonce, .. }) => {
            helpline::put(out, Say { call, nonce: next_nonce, text: text.clone() })
        }
        Message::Said(said) => helpline::put(out, HangUp { call: said.call }),
        Message::Ended(ended) => helpline::put(out, EndSeen { call: ended.call }),
        _ => Ok(()),
    })
}

/// Gives `take` those messages that are of these kinds.
fn each(
    bytes: &[u8],
    kinds: &[u16],
    mut take: impl FnMut(Message) -> io::Result<()>,
) -> io::Result<usize> {
    let mut used = 0;
    loop {
        let rest = bytes.get(used..).unwrap_or_default();
        let Some(frame) = frame::split(rest, limits::FRAME).map_err(io::Error::other)? else {
            return Ok(used);
        };
        used += frame.size();
        if kinds.contains(&frame.kind) {
            take(Message::decode(frame).map_err(io::Error::other)?)?;
        }
    }
}
