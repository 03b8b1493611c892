//! The server's end of a connection: what `conn.rs` of the server does with sockets and tasks, here with
//! pipes and without either.
//!
//! The frames, the session, the outbox and what the core is asked are the real ones. The order within a
//! step is that of the original; whoever changes one changes the other.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use helpline_proto::{
    code::Code,
    frame, limits,
    message::{Ended, Goodbye, Joined, Left, Said},
    session::{ServerEvent, ServerSession, Settings},
    time::Moment,
};
use helpline_server::{
    core::{ConnectionId, Inbox, Origin},
    outbox::{Outbox, OutboxSender, outbox},
};
use helpline_tests::dice::Dice;

use crate::{
    coverage::{Coverage, Sight},
    net::{Broken, End, Read, Wire},
};

/// Bytes read at once.
const READ: usize = 64 * 1024;

/// Bytes gathered for one write, about.
pub(crate) const WRITE: usize = 64 * 1024;

/// The way to the core: bounded, and closed when the core has ended.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) queue: VecDeque<Inbox>,
    pub(crate) bound: usize,
    pub(crate) open: bool,
    /// Somebody found it full.
    pub(crate) was_full: bool,
}

impl Door {
    fn has_room(&mut self) -> bool {
        let room = self.queue.len() < self.bound;
        self.was_full |= !room;
        room
    }
}

/// How a server lies about entries, so that clients are seen to cope.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lies {
    /// Percent of entries that are told twice.
    pub(crate) repeats: usize,
    /// Percent of entries that are left out.
    pub(crate) skips: usize,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Going {
    On,
    Over,
}

/// Whether the peer has stopped sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    No,
    Yes,
    Told,
}

/// One accepted connection.
pub(crate) struct Conn {
    id: ConnectionId,
    pub(crate) session: ServerSession,
    arrival: Option<OutboxSender>,
    outbox: Outbox,
    rest: Vec<u8>,
    out: Vec<u8>,
    asked: Vec<ServerEvent>,
    ended: Stopped,
    core_let_go: bool,
    core_waits: bool,
    /// The last words are written; the peer is read until then.
    farewell: Option<Moment>,
    /// Its last words are written, and the core is to be told that nobody is there any more.
    pub(crate) leaves: bool,
    /// Somebody on the way left an entry out.
    pub(crate) skipped: bool,
    /// The core said goodbye on it, or let go of it.
    pub(crate) parted: bool,
}

impl Conn {
    pub(crate) fn new(id: ConnectionId, settings: Settings, now: Moment) -> Self {
        let (sender, outbox) = outbox();
        Self {
            id,
            session: ServerSession::new(settings, now),
            arrival: Some(sender),
            outbox,
            rest: Vec::new(),
            out: Vec::new(),
            asked: Vec::new(),
            ended: Stopped::No,
            core_let_go: false,
            core_waits: false,
            farewell: None,
            leaves: false,
            skipped: false,
            parted: false,
        }
    }

    /// What it holds: bytes to write, bytes that came, requests.
    pub(crate) fn holds(&self) -> (usize, usize, usize) {
        (self.out.len() + self.session.waiting(), self.rest.len(), self.asked.len())
    }

    /// Does everything there is to do now.
    pub(crate) fn step(
        &mut self,
        now: Moment,
        wire: &mut Wire,
        door: &mut Door,
        lies: Lies,
        coverage: &mut Coverage,
    ) -> Going {
        loop {
            if let Some(until) = self.farewell {
                return self.linger(until, now, wire);
            }
            if self.is_held_back(now) {
                self.session.not_reading(now);
            }
            let before = self.session.is_closing();
            self.session.handle_timeout(now);
            if !before && self.session.is_closing() {
                coverage.see(Sight::CutByItsSession);
            }
            self.gather(door, lies, &mut wire.dice, coverage);
            let Ok(wrote) = self.write(now, wire, coverage) else { return Going::Over };
            let Ok(asked) = self.ask(door, coverage) else { return Going::Over };
            if self.session.is_closing() {
                if self.out.is_empty() && self.asked.is_empty() {
                    wire.down.end(End::Finished, now, &mut wire.dice);
                    self.farewell = Some(now + limits::LINGER);
                    self.leaves = true;
                    continue;
                }
                if self.gives_up_at().is_some_and(|at| now >= at) {
                    return Going::Over;
                }
            }
            let Ok(read) = self.read(now, wire) else { return Going::Over };
            if !wrote && !asked && !read {
                return Going::On;
            }
        }
    }

    fn linger(&mut self, until: Moment, now: Moment, wire: &mut Wire) -> Going {
        if self.ended != Stopped::No || now >= until {
            return Going::Over;
        }
        loop {
            self.rest.clear();
            match wire.up.read(&mut self.rest, READ, now) {
                Read::Bytes(_) => {}
                Read::Nothing => return Going::On,
                Read::End(_) => return Going::Over,
            }
        }
    }

    /// When there is something to do though nothing comes.
    pub(crate) fn next(&self, now: Moment, wire: &Wire) -> Option<Moment> {
        if let Some(until) = self.farewell {
            return Some(wire.up.next().map_or(until, |at| at.min(until)));
        }
        let closing = if self.session.is_closing() { self.gives_up_at() } else { None };
        let held = self.is_held_back(now) || self.session.is_closing() || self.ended != Stopped::No;
        let reads = wire.up.next().filter(|_| !held);
        let own = [self.session.poll_timeout(), self.session.paused_until(now), closing, reads];
        own.into_iter().flatten().min()
    }

    fn gather(&mut self, door: &Door, lies: Lies, dice: &mut Dice, coverage: &mut Coverage) {
        loop {
            while self.out.len() < WRITE {
                let Some(frame) = self.session.poll_transmit() else { break };
                self.out.extend_from_slice(&frame);
            }
            if self.core_let_go || self.out.len() >= WRITE {
                return;
            }
            match self.outbox.poll_next(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(frames)) if lies.repeats + lies.skips == 0 => {
                    self.tell(frames, lies, dice, coverage);
                }
                Poll::Ready(Some(mut frames)) => {
                    while let Ok(Some(frame)) = frame::split(&frames, limits::FRAME) {
                        let size = frame.size();
                        self.tell(frames.split_to(size), lies, dice, coverage);
                    }
                }
                Poll::Ready(None) => {
                    self.core_let_go = true;
                    self.parted = true;
                    if door.open {
                        self.session.close(Code::TOO_SLOW, "there was no room for more");
                    } else {
                        self.session.close(Code::INTERNAL, "the server failed");
                    }
                }
                Poll::Pending => return,
            }
        }
    }

    fn tell(&mut self, frame: Bytes, lies: Lies, dice: &mut Dice, coverage: &mut Coverage) {
        let kind = frame.get(4..6).map_or(0, |kind| u16::from_be_bytes([kind[0], kind[1]]));
        if kind == Goodbye::NUMBER {
            self.parted = true;
        }
        let entry = matches!(kind, Said::NUMBER | Joined::NUMBER | Left::NUMBER | Ended::NUMBER);
        if entry && lies.skips > 0 && dice.chance(lies.skips) {
            self.skipped = true;
            return coverage.see(Sight::EntryLeftOut);
        }
        if entry && lies.repeats > 0 && dice.chance(lies.repeats) {
            coverage.see(Sight::EntryRepeated);
            self.session.tell(frame.clone());
        }
        self.session.tell(frame);
    }

    fn write(
        &mut self,
        now: Moment,
        wire: &mut Wire,
        coverage: &mut Coverage,
    ) -> Result<bool, Broken> {
        if self.out.is_empty() {
            return Ok(false);
        }
        let size = wire.down.write(&self.out, now, &mut wire.dice)?;
        if size > 0 {
            self.out.drain(..size);
            self.session.progressed();
        }
        if !self.out.is_empty() {
            coverage.see(Sight::PeerTakesNothing);
            self.session.stuck(now);
        }
        Ok(size > 0)
    }

    fn ask(&mut self, door: &mut Door, coverage: &mut Coverage) -> Result<bool, Broken> {
        if self.arrival.is_none() && self.out.is_empty() && self.outbox.core_waits() {
            self.core_waits = true;
        }
        let leaves = self.ended == Stopped::Yes && self.rest_is_partial();
        if self.asked.is_empty() && !self.core_waits && !leaves {
            return Ok(false);
        }
        if !door.open {
            return Err(Broken);
        }
        if !door.has_room() {
            coverage.see(Sight::CoreBusy);
            return Ok(false);
        }
        let first = if self.arrival.is_some() { self.asked.pop() } else { None };
        let item = if let Some((event, outbox)) = first.zip(self.arrival.take()) {
            Inbox::Arrived(self.id, Origin::Console, outbox, event)
        } else if !self.asked.is_empty() {
            Inbox::Asked(self.id, std::mem::take(&mut self.asked))
        } else if std::mem::take(&mut self.core_waits) {
            coverage.see(Sight::PageAskedFor);
            Inbox::Emptied(self.id)
        } else {
            self.ended = Stopped::Told;
            if self.arrival.is_some() {
                self.session.close(Code::DONE, "goodbye");
                return Ok(true);
            }
            Inbox::Gone(self.id)
        };
        door.queue.push_back(item);
        Ok(true)
    }

    fn rest_is_partial(&self) -> bool {
        !matches!(frame::split(&self.rest, self.session.frame_limit()), Ok(Some(_)))
    }

    fn is_held_back(&self, now: Moment) -> bool {
        !self.asked.is_empty()
            || self.out.len() >= WRITE
            || self.session.paused_until(now).is_some()
    }

    fn read(&mut self, now: Moment, wire: &mut Wire) -> Result<bool, Broken> {
        if self.is_held_back(now) || self.session.is_closing() {
            return Ok(false);
        }
        if !self.rest.is_empty() && self.handle(now) {
            return Ok(true);
        }
        if self.ended != Stopped::No {
            return Ok(false);
        }
        match wire.up.read(&mut self.rest, READ, now) {
            Read::Nothing => Ok(false),
            Read::End(End::Broken) => Err(Broken),
            Read::End(End::Finished) => {
                self.ended = Stopped::Yes;
                Ok(true)
            }
            Read::Bytes(_) => {
                self.handle(now);
                Ok(true)
            }
        }
    }

    /// Handles what came, as far as it may be. True when that was anything.
    fn handle(&mut self, now: Moment) -> bool {
        let mut used = 0;
        while !self.session.is_closing() && self.session.paused_until(now).is_none() {
            match frame::split(&self.rest[used..], self.session.frame_limit()) {
                Ok(Some(frame)) => {
                    used += frame.size();
                    self.session.handle(frame, now);
                    while let Some(event) = self.session.poll_event() {
                        self.asked.push(event);
                    }
                }
                Ok(None) => break,
                Err(error) => self.session.handle_garbage(error),
            }
        }
        self.rest.drain(..used);
        if !self.rest.is_empty() && self.session.paused_until(now).is_none() {
            self.session.frame_begun(now);
        }
        used > 0
    }

    fn gives_up_at(&self) -> Option<Moment> {
        self.session.stuck_since().map(|since| since + limits::NO_PROGRESS)
    }
}
