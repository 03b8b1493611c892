//! Many connections that wait, and say from time to time that they are there, as clients do.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use helpline_proto::{limits, message::Ping};
use mio::{Events, Poll, Token};

use crate::{
    rivals::Rival,
    speak::{End, Protocol, helpline},
    wire::Wire,
    works::line::Line,
};

/// How often those who wait look whether anything is due.
const TICK: Duration = Duration::from_millis(10);

/// As many dial before the first of them has to be in: less than a server lets wait at its door.
const AT_ONCE: usize = 100;

/// Connections, all of them open unless the server ended them.
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    members: Vec<Option<Wire>>,
    ends: Vec<Box<dyn End>>,
    keepalive: Keepalive,
    ended: usize,
}

/// What those say who have said nothing for a while.
struct Keepalive {
    says: Vec<u8>,
    /// Who says it next, and when.
    due: VecDeque<(Instant, usize)>,
}

impl Crowd {
    /// These, who say nothing by themselves.
    pub(crate) fn new(wires: Vec<Wire>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut members = Vec::with_capacity(wires.len());
        for (at, mut wire) in wires.into_iter().enumerate() {
            wire.register(poll.registry(), Token(at))?;
            wire.shrink();
            members.push(Some(wire));
        }
        let events = Events::with_capacity(1024);
        let keepalive = Keepalive { says: Vec::new(), due: VecDeque::new() };
        Ok(Self { poll, events, members, ends: Vec::new(), keepalive, ended: 0 })
    }

    /// Callers who wait on a line, and keep their connections alive: each as often as a client has to, and all
    /// of them evenly over that time.
    pub(crate) fn callers(line: &Line, count: usize) -> io::Result<Self> {
        let mut wires = Vec::with_capacity(count);
        while wires.len() < count {
            let many = AT_ONCE.min(count - wires.len());
            let mut dialled = Vec::with_capacity(many);
            for _ in 0..many {
                let mut wire = line.helpline.dial(line.at, helpline::join()?)?;
                wire.flush()?;
                dialled.push(wire);
            }
            for mut wire in dialled {
                helpline::placed(&mut wire)?;
                wire.shrink();
                wires.push(wire);
            }
        }
        let mut crowd = Self::new(wires)?;
        crowd.keep_alive()?;
        Ok(crowd)
    }

    /// Both ends of conversations in which nothing is said.
    pub(crate) fn pairs(
        rival: Rival,
        protocol: &dyn Protocol,
        at: std::net::SocketAddr,
        count: usize,
    ) -> io::Result<Self> {
        let (mut wires, mut ends) = (Vec::new(), Vec::new());
        for pair in protocol.pairs(at, count.div_ceil(2))? {
            for (mut wire, end) in [Some(pair.speaker), pair.hearer].into_iter().flatten() {
                wire.shrink();
                wires.push(wire);
                ends.push(end);
            }
        }
        let mut crowd = Self { ends, ..Self::new(wires)? };
        if matches!(rival, Rival::Helpline | Rival::HelplineTls) {
            crowd.keep_alive()?;
        }
        Ok(crowd)
    }

    /// From now on everybody keeps the connection alive.
    pub(crate) fn keep_alive(&mut self) -> io::Result<()> {
        helpline::put(&mut self.keepalive.says, Ping {})?;
        let now = Instant::now();
        let count = u32::try_from(self.members.len()).map_err(io::Error::other)?;
        let due = (0..count).zip(0..self.members.len());
        self.keepalive.due = due
            .map(|(nth, at)| {
                (now + limits::KEEPALIVE.mul_f64(f64::from(nth) / f64::from(count)), at)
            })
            .collect();
        Ok(())
    }

    /// How many connections there are, and were.
    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    /// How many the server ended.
    pub(crate) fn ended(&self) -> usize {
        self.ended
    }

    /// Lets them wait for so long.
    pub(crate) fn wait(&mut self, lasts: Duration) -> io::Result<()> {
        let begun = Instant::now();
        let mut ends = std::mem::take(&mut self.ends);
        while let left = lasts.saturating_sub(begun.elapsed())
            && !left.is_zero()
        {
            self.turn(left, |at, bytes, out| match ends.get_mut(at) {
                Some(end) => end.hear(bytes, out).map(|(used, _)| used),
                None => Ok(bytes.len()),
            })?;
        }
        self.ends = ends;
        if self.ended > 0 {
            return Err(io::Error::other("the server ended connections of those who wait"));
        }
        Ok(())
    }

    /// Lets `take` have what has come within this time at most, with whose it is. It says how much of it
    /// it used.
    pub(crate) fn turn(
        &mut self,
        at_most: Duration,
        mut take: impl FnMut(usize, &[u8], &mut Vec<u8>) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.say_what_is_due()?;
        let at_most = if self.keepalive.due.is_empty() { at_most } else { at_most.min(TICK) };
        self.poll.poll(&mut self.events, Some(at_most))?;
        for event in &self.events {
            let at = event.token().0;
            let Some(Some(wire)) = self.members.get_mut(at) else { continue };
            match wire.drain(|bytes, out| take(at, bytes, out)) {
                Ok(()) => wire.flush()?,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.ended += 1;
                    if let Some(member) = self.members.get_mut(at) {
                        *member = None;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn say_what_is_due(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let Keepalive { says, due } = &mut self.keepalive;
        while let Some((when, at)) = due.front().copied()
            && when <= now
        {
            due.pop_front();
            if let Some(Some(wire)) = self.members.get_mut(at) {
                wire.out.extend_from_slice(says);
                wire.flush()?;
                due.push_back((when + limits::KEEPALIVE, at));
            }
        }
        Ok(())
    }
}
