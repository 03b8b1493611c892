//! The network: pairs of byte pipes, and everything that happens to bytes on their way.
//!
//! A living connection loses nothing, as TCP doesn't: what is dropped is sent again, so a drop is a
//! stall. What can happen is that bytes come late, in other pieces than they were written, or that the
//! connection breaks behind any of them, with or without anybody's noticing.

use std::{collections::VecDeque, time::Duration};

use helpline_proto::time::Moment;
use helpline_tests::dice::Dice;

/// A moment that never comes.
pub(crate) const NEVER: Moment = Moment(u64::MAX);

/// How what is written at one end is read at the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// As it was written.
    AsWritten,
    /// At most so many bytes at a time.
    Slices(usize),
    /// Everything that has come, at once.
    Together,
}

/// What comes behind the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The other side said all it had to say.
    Finished,
    /// The connection broke.
    Broken,
}

/// What a read brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    End(End),
}

/// The connection takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// What is on its way, and until where it arrives when.
    bytes: VecDeque<u8>,
    arrivals: VecDeque<(Moment, usize)>,
    end: Option<(Moment, End)>,
    /// Nothing arrives before.
    pub(crate) stalled: Moment,
    /// How long bytes take, and how much more some of them.
    pub(crate) delay: u64,
    pub(crate) jitter: usize,
    pub(crate) reads: Reads,
    /// How many bytes may be on their way.
    pub(crate) room: usize,
    /// The connection breaks behind so many more.
    pub(crate) cut: Option<usize>,
    /// A write found no room.
    pub(crate) full: bool,
}

impl Pipe {
    fn new(delay: u64) -> Self {
        Self {
            bytes: VecDeque::new(),
            arrivals: VecDeque::new(),
            end: None,
            stalled: Moment(0),
            delay,
            jitter: 0,
            reads: Reads::AsWritten,
            room: 256 * 1024,
            cut: None,
            full: false,
        }
    }

    /// Writes as much as there is room for.
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        now: Moment,
        dice: &mut Dice,
    ) -> Result<usize, Broken> {
        if self.end.is_some() {
            return Err(Broken);
        }
        let mut size = bytes.len().min(self.room.saturating_sub(self.bytes.len()));
        self.full = size < bytes.len();
        if let Some(left) = &mut self.cut {
            size = size.min(*left);
            *left -= size;
        }
        if size > 0 {
            let at = self.arrival(now, dice);
            self.bytes.extend(&bytes[..size]);
            self.arrivals.push_back((at, size));
        }
        Ok(size)
    }

    /// A delay that has become shorter lets nothing overtake.
    fn arrival(&self, now: Moment, dice: &mut Dice) -> Moment {
        let last = self.arrivals.back().map_or(Moment(0), |(at, _)| *at);
        let mut delay = Duration::from_millis(self.delay);
        if self.jitter > 0 {
            delay += dice.millis(self.jitter);
        }
        last.max(now + delay)
    }

    /// Says that nothing more follows, behind what is on its way.
    pub(crate) fn end(&mut self, end: End, now: Moment, dice: &mut Dice) {
        if self.end.is_none() {
            self.end = Some((self.arrival(now, dice), end));
        }
    }

    /// Breaks, and loses the last of what is on its way.
    pub(crate) fn break_off(&mut self, keep: usize, now: Moment, dice: &mut Dice) {
        let mut left = keep;
        for (_, size) in &mut self.arrivals {
            *size = (*size).min(left);
            left -= *size;
        }
        self.arrivals.retain(|(_, size)| *size > 0);
        self.bytes.truncate(keep);
        self.end = None;
        self.end(End::Broken, now, dice);
    }

    pub(crate) fn on_the_way(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the connection was cut behind the bytes there were to be.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut == Some(0)
    }

    /// Reads what has come, into a buffer, at most so much.
    pub(crate) fn read(&mut self, into: &mut Vec<u8>, most: usize, now: Moment) -> Read {
        if self.stalled > now {
            return Read::Nothing;
        }
        let most = match self.reads {
            Reads::Slices(size) => size.clamp(1, most),
            Reads::AsWritten | Reads::Together => most,
        };
        let mut size = 0;
        while size < most
            && let Some((at, chunk)) = self.arrivals.front_mut()
            && *at <= now
        {
            let taken = (*chunk).min(most - size);
            *chunk -= taken;
            size += taken;
            if *chunk == 0 {
                self.arrivals.pop_front();
            }
            if self.reads == Reads::AsWritten {
                break;
            }
        }
        if size > 0 {
            let (front, back) = self.bytes.as_slices();
            let first = size.min(front.len());
            into.extend_from_slice(&front[..first]);
            into.extend_from_slice(&back[..size - first]);
            self.bytes.drain(..size);
            return Read::Bytes(size);
        }
        match self.end {
            Some((at, end)) if self.arrivals.is_empty() && at <= now => Read::End(end),
            _ => Read::Nothing,
        }
    }

    /// When a read brings something.
    pub(crate) fn next(&self) -> Option<Moment> {
        let at = self.arrivals.front().map(|(at, _)| *at).or(self.end.map(|(at, _)| at))?;
        Some(at.max(self.stalled)).filter(|at| *at != NEVER)
    }
}

/// A connection: what one process dialled, and what the server accepted.
#[derive(Debug)]
pub(crate) struct Wire {
    /// From the client to the server.
    pub(crate) up: Pipe,
    /// From the server to the client.
    pub(crate) down: Pipe,
    /// Which process dialled it.
    pub(crate) process: usize,
    /// The server's machine has forgotten it: whatever comes is answered with a reset.
    pub(crate) forgotten: bool,
    pub(crate) dice: Dice,
}

impl Wire {
    pub(crate) fn new(process: usize, delay: u64, dice: Dice) -> Self {
        let (up, down) = (Pipe::new(delay), Pipe::new(delay));
        Self { up, down, process, forgotten: false, dice }
    }

    /// Breaks it for both ends. Some of what is on its way may still arrive.
    pub(crate) fn reset(&mut self, now: Moment) {
        for pipe in [&mut self.up, &mut self.down] {
            let keep = self.dice.below(pipe.on_the_way() + 1);
            pipe.break_off(keep, now, &mut self.dice);
        }
    }

    /// Nothing arrives any more, and nobody is told.
    pub(crate) fn go_dead(&mut self) {
        self.up.stalled = NEVER;
        self.down.stalled = NEVER;
    }

    /// Everything arrives again.
    pub(crate) fn heal(&mut self, now: Moment) {
        for pipe in [&mut self.up, &mut self.down] {
            pipe.stalled = pipe.stalled.min(now);
            pipe.cut = None;
            pipe.jitter = 0;
            pipe.delay = pipe.delay.min(20);
            pipe.reads = Reads::AsWritten;
            pipe.room = 256 * 1024;
        }
    }
}
