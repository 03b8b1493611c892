//! The client's end: a process with its session, its screen and its reconnecting, and what a person does
//! with it.
//!
//! A process that is killed loses its session and its screen. What stays is the ticket and the journal: the
//! lines it doesn't know to be recorded, written down before they could be sent.

use std::{collections::VecDeque, time::Duration};

use bytes::{Buf as _, Bytes};
use helpline_proto::{
    code::Code,
    frame,
    ids::{CallId, Nonce, Side, Ticket},
    limits,
    message::{Join, Message, Ref, Say, SignOn},
    session::{ClientEvent, ClientSession, Lost, Opening},
    text::{Agent, Text},
    time::Moment,
};
use helpline_tests::checker::{Invariant, ScreenId};

use crate::{
    coverage::Sight,
    net::{End, NEVER, Read},
    params::Dim,
    world::{Event, World},
};

/// A line in a journal.
pub(crate) type Unsaid = (CallId, Nonce, Text);

/// Lines known to be recorded that a journal may still have when its process is killed.
const LATELY: usize = 4;

/// A running client.
pub(crate) struct Process {
    pub(crate) person: usize,
    pub(crate) alive: bool,
    pub(crate) session: Option<ClientSession>,
    opening: Opening,
    restore: Vec<Unsaid>,
    pub(crate) wire: Option<usize>,
    rest: Vec<u8>,
    /// What is left of the frame being written.
    out: Bytes,
    pub(crate) screen: ScreenId,
    /// The calls it was told are open.
    pub(crate) calls: Vec<CallId>,
    /// The calls whose end it showed.
    ended: Vec<CallId>,
    /// Nothing is read before, and then so much at a time, every 50 ms.
    pub(crate) reads_from: Moment,
    pub(crate) reads_most: usize,
    tries: u32,
    /// When it asked to be let in.
    asked: Moment,
    pub(crate) offered: Option<CallId>,
    /// The nonces of its unsaid lines when it went offline.
    nonces: Vec<Nonce>,
    lately: VecDeque<Unsaid>,
    pub(crate) wake: Moment,
}

impl World {
    /// Starts a process for a person; a twin starts from nothing but the ticket.
    pub(crate) fn start_process(&mut self, at: usize, twin: bool) {
        let person = &mut self.people[at];
        let ticket = person.ticket.clone();
        let opening = match person.side {
            side if person.admitted || twin => Opening::Resume(side, ticket),
            Side::Caller => {
                Opening::Join(Join { ticket, line: None, name: person.name.clone(), invite: None })
            }
            Side::Operator => Opening::SignOn(SignOn {
                ticket,
                name: person.name.clone(),
                answering: person.answering,
                token: None,
            }),
        };
        let resumes = matches!(opening, Opening::Resume(..));
        let restore = if resumes && !twin { std::mem::take(&mut person.journal) } else { vec![] };
        let after = person.last_screen.filter(|_| !twin);
        let screen = self.checker.screen_opened(person.party, after);
        person.last_screen = Some(screen);
        let number = self.processes.len();
        person.process = Some(number);
        self.processes.push(Process {
            person: at,
            alive: true,
            session: None,
            opening,
            restore,
            wire: None,
            rest: Vec::new(),
            out: Bytes::new(),
            screen,
            calls: Vec::new(),
            ended: Vec::new(),
            reads_from: Moment(0),
            reads_most: usize::MAX,
            tries: 0,
            asked: self.now,
            offered: None,
            nonces: Vec::new(),
            lately: VecDeque::new(),
            wake: NEVER,
        });
        self.trace(|| format!("person {at} starts process {number} (twin: {twin})"));
        self.dial(number);
    }

    /// Tries to connect.
    pub(crate) fn dial(&mut self, number: usize) {
        if !self.processes[number].alive || self.processes[number].wire.is_some() {
            return;
        }
        let Some(wire) = self.connect(number) else {
            self.see(Sight::DialRefused);
            let pause = if self.server.machine_is_off() {
                limits::RECONNECT_TRY
            } else {
                self.pause(number)
            };
            let at = self.now + pause;
            return self.schedule(at, Event::Dial(number));
        };
        let now = self.now;
        let process = &mut self.processes[number];
        process.wire = Some(wire);
        match &mut process.session {
            Some(session) => session.connected(now),
            empty => {
                let agent = Agent::new("sim").unwrap();
                process.asked = now;
                let session = empty.insert(ClientSession::new(process.opening.clone(), agent, now));
                for (call, nonce, text) in process.restore.drain(..) {
                    session.restore(call, nonce, text);
                }
            }
        }
        self.trace(|| format!("process {number} dials wire {wire}"));
        self.use_process(number);
    }

    /// The pause before the next try: from 0.2 s growing to 2 s, give or take.
    fn pause(&mut self, number: usize) -> Duration {
        let process = &mut self.processes[number];
        let pause = limits::RECONNECT_SOONEST * 2_u32.pow(process.tries.min(4));
        process.tries += 1;
        let pause = usize::try_from(pause.min(limits::RECONNECT_LATEST).as_millis()).unwrap();
        Duration::from_millis(u64::try_from(pause / 2 + self.dice.below(pause)).unwrap())
            .min(limits::RECONNECT_LATEST)
    }

    /// Everything that a process can do now.
    pub(crate) fn use_process(&mut self, number: usize) {
        if !self.processes[number].alive {
            return;
        }
        self.read(number);
        let now = self.now;
        if let Some(session) = &mut self.processes[number].session
            && session.poll_timeout().is_some_and(|at| at <= now)
        {
            session.handle_timeout(now);
        }
        self.learn(number);
        if self.finale {
            self.hang_up_at_last(number);
        }
        self.transmit(number);
        self.learn(number);
        self.schedule_process(number);
    }

    pub(crate) fn schedule_process(&mut self, number: usize) {
        let process = &self.processes[number];
        let Some(session) = process.session.as_ref().filter(|_| process.alive) else { return };
        let comes = process.wire.and_then(|wire| self.wires[wire].down.next());
        let comes = comes.map(|at| at.max(process.reads_from));
        if let Some(at) = [session.poll_timeout(), comes].into_iter().flatten().min() {
            self.wake_process(number, at);
        }
    }

    pub(crate) fn wake_process(&mut self, number: usize, at: Moment) {
        let process = &mut self.processes[number];
        let at = at.max(self.now);
        if process.alive && at < process.wake && at != NEVER {
            process.wake = at;
            self.schedule(at, Event::Process(number));
        }
    }

    fn read(&mut self, number: usize) {
        let now = self.now;
        loop {
            let process = &mut self.processes[number];
            let (Some(wire), Some(session)) = (process.wire, &mut process.session) else { return };
            if process.reads_from > now {
                return;
            }
            let down = &mut self.wires[wire].down;
            match down.read(&mut process.rest, process.reads_most.min(64 * 1024), now) {
                Read::Nothing => return,
                Read::End(_) => {
                    session.handle_end();
                    return self.learn(number);
                }
                Read::Bytes(_) => {
                    if process.reads_most < usize::MAX {
                        process.reads_from = now + Duration::from_millis(50);
                    }
                    let mut used = 0;
                    loop {
                        match frame::split(&process.rest[used..], limits::FRAME) {
                            Ok(Some(frame)) => {
                                used += frame.size();
                                session.handle(frame, now);
                            }
                            Ok(None) => break,
                            Err(error) => {
                                session.handle_garbage(error);
                                break;
                            }
                        }
                    }
                    process.rest.drain(..used);
                    let holds = process.rest.len();
                    self.checker.buffer("a client's unread rest", holds, 2 * 64 * 1024);
                    if std::mem::take(&mut self.wires[wire].down.full) {
                        self.wake_conn(wire, now);
                    }
                    self.learn(number);
                }
            }
        }
    }

    /// Takes note of everything that the session has learnt.
    fn learn(&mut self, number: usize) {
        while let Some(event) =
            self.processes[number].session.as_mut().and_then(ClientSession::poll_event)
        {
            match event {
                ClientEvent::Welcomed(_) => {}
                ClientEvent::Told(_, message) => self.told(number, &message),
                ClientEvent::NotSaid { text, why, .. } => {
                    self.trace(|| {
                        format!("process {number} shows as not said ({why:?}): {}", head(&text))
                    });
                    self.see(match why {
                        None => Sight::NotSaidUnknown,
                        Some(Code::CALL_ENDED) => Sight::NotSaidEnded,
                        Some(Code::DISK_FULL) => Sight::NotSaidDiskFull,
                        Some(Code::PUT_BACK) => Sight::NotSaidPutBack,
                        Some(_) => Sight::NotSaid,
                    });
                    self.checker.not_said(text.as_str(), why.is_some());
                }
                ClientEvent::Offline(lost) => self.offline(number, &lost),
                ClientEvent::Over(lost) => self.over(number, &lost),
            }
        }
    }

    fn told(&mut self, number: usize, message: &Message) {
        self.trace(|| format!("process {number} is told {}", brief(message)));
        let now = self.now;
        let process = &mut self.processes[number];
        let side = self.people[process.person].side;
        let Some(session) = &mut process.session else { return };
        let entry = match message {
            Message::Said(it) => Some((it.call, it.seq)),
            Message::Joined(it) => Some((it.call, it.seq)),
            Message::Left(it) => Some((it.call, it.seq)),
            Message::Ended(it) => Some((it.call, it.seq)),
            _ => None,
        };
        if let Some((call, seq)) = entry {
            self.checker.shown(process.screen, message);
            session.shown(call, seq);
        }
        match message {
            Message::Said(it) if it.from == side => {
                if process.lately.len() == LATELY {
                    process.lately.pop_front();
                }
                process.lately.push_back((it.call, it.nonce, it.text.clone()));
            }
            Message::Ended(it) => {
                process.calls.retain(|call| *call != it.call);
                process.ended.push(it.call);
            }
            Message::PutBack(it) => {
                process.calls.retain(|call| *call != it.call);
                self.checker.put_back(process.screen, it.call);
            }
            Message::Admitted(_) => {
                process.tries = 0;
                let person = &mut self.people[process.person];
                person.admitted = true;
            }
            Message::Resumed(resumed) => {
                let is_listed = |call| resumed.calls.iter().any(|listed| listed.call == call);
                for call in process.calls.iter().filter(|call| !is_listed(**call)) {
                    self.checker.unlisted(process.screen, *call);
                }
                process.calls = resumed.calls.iter().map(|listed| listed.call).collect();
                process.calls.retain(|call| !process.ended.contains(call));
                let nonces: Vec<Nonce> =
                    session.unsaid_lines().map(|(_, nonce, _)| nonce).collect();
                let sent = std::mem::take(&mut process.nonces);
                let renumbered =
                    nonces.iter().rev().zip(sent.iter().rev()).any(|(now, then)| now != then);
                if renumbered {
                    self.coverage.see(Sight::Renumbered);
                }
                if !nonces.is_empty() {
                    self.coverage.see(Sight::ResumedWithUnsaid);
                }
                self.coverage.see(Sight::Resumed);
                for listed in &resumed.calls {
                    self.checker.told_next(listed.call, side, listed.next_nonce);
                }
            }
            Message::Place(it) => {
                if !process.calls.contains(&it.call) {
                    process.calls.push(it.call);
                }
                self.checker.told_next(it.call, side, it.next_nonce);
            }
            Message::Connected(it) => {
                if !process.calls.contains(&it.call) {
                    process.calls.push(it.call);
                }
                self.checker.told_next(it.call, side, it.next_nonce);
            }
            Message::Busy(_) => {
                self.coverage.see(Sight::Busy);
                self.checker.busy(process.asked);
                (self.people[process.person].over, self.people[process.person].refused) =
                    (true, true);
                session.stop(Lost::Broken);
            }
            Message::Closed(_) => {
                self.coverage.see(Sight::Closed);
                (self.people[process.person].over, self.people[process.person].refused) =
                    (true, true);
                session.stop(Lost::Broken);
            }
            Message::Offer(offer) => {
                process.offered = Some(offer.call);
                if self.people[process.person].dice.chance(60) {
                    let at = now + self.dice.millis(2_000);
                    self.schedule(at, Event::React(number));
                }
            }
            Message::Error(error) if error.detail.as_str().starts_with("the first in line") => {
                self.coverage.see(Sight::FirstIsAway);
            }
            Message::Away(away) => {
                self.coverage.see(Sight::AwayTold);
                if away.from == Side::Caller && self.people[process.person].dice.chance(50) {
                    // Patience, and then somebody else's turn.
                    let at = Moment(now.0 + 15_000) + self.dice.millis(20_000);
                    self.schedule(at, Event::React(number));
                }
            }
            Message::Back(_) => self.coverage.see(Sight::BackTold),
            _ => {}
        }
    }

    /// The connection is of no more use; another will be tried.
    fn offline(&mut self, number: usize, lost: &Lost) {
        self.trace(|| format!("process {number} is offline: {lost}"));
        match lost {
            Lost::Gap(behind) => {
                self.see(Sight::Gap);
                let wire = self.processes[number].wire;
                let screen = self.processes[number].screen;
                if !wire.is_some_and(|wire| self.skipped.contains(&wire)) {
                    self.checker.gap(screen, *behind);
                }
            }
            Lost::NoAnswer => self.see(Sight::TryGivenUp),
            Lost::Silent => self.see(Sight::Silence),
            Lost::NotHelpline(error) => self.strange(number, &error.to_string()),
            Lost::Goodbye(goodbye) => self.goodbye(goodbye.code),
            Lost::Broken => {}
        }
        self.hang_up_wire(number);
        let process = &mut self.processes[number];
        if let Some(session) = &process.session {
            process.nonces = session.unsaid_lines().map(|(_, nonce, _)| nonce).collect();
        }
        self.see(Sight::Reconnect);
        let at = self.now + self.pause(number);
        self.schedule(at, Event::Dial(number));
    }

    fn goodbye(&mut self, code: Code) {
        match code {
            Code::SUPERSEDED => self.see(Sight::Superseded),
            Code::TOO_SLOW => self.see(Sight::TooSlow),
            Code::END_NOT_SEEN => self.see(Sight::EndNotSeen),
            Code::NO_SUCH_TICKET => self.see(Sight::NoSuchTicket),
            _ => {}
        }
    }

    /// Both ends speak the same protocol, so neither finds the other strange.
    fn strange(&mut self, number: usize, what: &str) {
        let detail = format!("process {number} and the server don't understand each other: {what}");
        self.checker.violated(Invariant::I2, detail);
    }

    /// Nothing follows for this process.
    fn over(&mut self, number: usize, lost: &Lost) {
        self.trace(|| format!("process {number} is over: {lost}"));
        self.hang_up_wire(number);
        let process = &mut self.processes[number];
        process.alive = false;
        let (at, screen) = (process.person, process.screen);
        let code = match lost {
            Lost::Goodbye(goodbye) => Some(goodbye.code),
            _ => None,
        };
        if let Some(code) = code {
            self.goodbye(code);
        }
        match (code, lost) {
            (Some(Code::DONE), _) => {}
            (Some(Code::NO_SUCH_TICKET), _) => {
                self.checker.turned_away(screen);
                self.checker.screen_closed(screen);
            }
            (_, Lost::NotHelpline(error)) => self.strange(number, &error.to_string()),
            _ => self.checker.screen_closed(screen),
        }
        // Another process with the same ticket may go on.
        let ticket = &self.people[at].ticket;
        let other = (0..self.processes.len()).rev().find(|other| {
            let process = &self.processes[*other];
            process.alive && process.person == at && opening_ticket(&process.opening) == ticket
        });
        let ours = opening_ticket(&self.processes[number].opening) == ticket;
        let person = &mut self.people[at];
        if person.process == Some(number) {
            person.process = other;
        }
        let lives = other.is_some() || code == Some(Code::SUPERSEDED);
        // Whoever was never let in may try again with the same ticket.
        let tries_again = !person.admitted && matches!(lost, Lost::Broken | Lost::NoAnswer)
            || code == Some(Code::DISK_FULL);
        if ours && !lives && !tries_again {
            person.over = true;
        } else if ours && !lives && self.finale && !person.over {
            let soon = self.now + limits::RECONNECT_SOONEST;
            self.schedule(soon, Event::Restart(at));
        }
    }

    /// Ends a process's side of its connection.
    fn hang_up_wire(&mut self, number: usize) {
        let process = &mut self.processes[number];
        process.rest.clear();
        process.out = Bytes::new();
        let Some(at) = process.wire.take() else { return };
        let wire = &mut self.wires[at];
        let end = if wire.dice.chance(50) { End::Finished } else { End::Broken };
        wire.up.end(end, self.now, &mut wire.dice);
        // What still comes is answered with a reset.
        wire.down.break_off(0, self.now, &mut wire.dice);
        self.wake_conn_when_up_comes(at);
        self.wake_conn(at, self.now);
    }

    fn transmit(&mut self, number: usize) {
        let now = self.now;
        let process = &mut self.processes[number];
        let (Some(at), Some(session)) = (process.wire, &mut process.session) else { return };
        let wire = &mut self.wires[at];
        let stutters = self.params.dims.has(Dim::Stutter) && !self.finale;
        let mut broken = false;
        loop {
            if process.out.is_empty() {
                let Some(frame) = session.poll_transmit(now) else { break };
                process.out = frame;
                if stutters && is_say(&process.out) && self.dice.chance(10) {
                    self.coverage.see(Sight::SaidAgain);
                    process.out = twice(&process.out);
                }
            }
            match wire.up.write(&process.out, now, &mut wire.dice) {
                Ok(size) => process.out.advance(size),
                Err(_) => broken = true,
            }
            if broken || !process.out.is_empty() {
                break;
            }
        }
        if wire.up.is_cut() {
            wire.up.cut = None;
            let keep = wire.up.on_the_way();
            wire.up.break_off(keep, now, &mut wire.dice);
            wire.down.break_off(0, now, &mut wire.dice);
        }
        if wire.forgotten && wire.up.on_the_way() > 0 {
            self.answer_with_reset(at);
        }
        // What was sent before the connection broke may still be answered: the end comes by reading.
        self.wake_conn_when_up_comes(at);
        self.schedule_process(number);
    }

    /// Kills a process; its machine may die with it.
    pub(crate) fn kill(&mut self, at: usize, host_dies: bool) {
        let Some(number) = self.people[at].process.take() else { return };
        self.trace(|| {
            format!("person {at}: process {number} is killed (its machine: {host_dies})")
        });
        self.see(if host_dies { Sight::HostDied } else { Sight::Killed });
        let process = &mut self.processes[number];
        process.alive = false;
        self.checker.screen_closed(process.screen);
        let person = &mut self.people[at];
        if let Some(session) = process.session.take() {
            let unsaid =
                session.unsaid_lines().map(|(call, nonce, text)| (call, nonce, text.clone()));
            let unsaid: Vec<Unsaid> = unsaid.collect();
            if !unsaid.is_empty() {
                self.coverage.see(Sight::KilledWithUnsaid);
            }
            let stale = person.dice.chance(50);
            let lately = process
                .lately
                .drain(..)
                .filter(|(call, ..)| stale && unsaid.first().is_none_or(|(open, ..)| open == call));
            person.journal = lately.chain(unsaid.iter().cloned()).collect();
        } else {
            person.journal = std::mem::take(&mut process.restore);
        }
        if !host_dies {
            return self.hang_up_wire(number);
        }
        if let Some(wire) = self.processes[number].wire.take() {
            self.wires[wire].go_dead();
        }
    }

    /// Starts a person's process again, if there is anything to go on with.
    pub(crate) fn restart(&mut self, at: usize) {
        if self.people[at].process.is_none() && !self.people[at].over {
            self.see(Sight::Restarted);
            self.start_process(at, false);
        }
    }

    /// Whoever was refused, and has a call all the same that an earlier process asked for, comes back to it.
    pub(crate) fn fetch_refused(&mut self) {
        for at in 0..self.people.len() {
            let person = &mut self.people[at];
            if person.refused && person.process.is_none() && self.server.holds(&person.ticket) {
                (person.over, person.refused) = (false, false);
                self.restart(at);
            }
        }
    }

    fn hang_up_at_last(&mut self, number: usize) {
        let process = &mut self.processes[number];
        if self.people[process.person].side == Side::Operator {
            return;
        }
        let Some(session) = &mut process.session else { return };
        for call in &process.calls {
            if session.hang_up(*call, Ref::NONE).is_ok() {
                self.checker.hung_up(*call, Side::Caller);
            }
        }
    }
}

fn is_say(frame: &[u8]) -> bool {
    frame.get(4..6) == Some(&Say::NUMBER.to_be_bytes())
}

/// A frame, and the same again for which no answer is expected.
fn twice(frame: &[u8]) -> Bytes {
    let mut both = [frame, frame].concat();
    both[frame.len() + 6..frame.len() + 10].fill(0);
    both.into()
}

pub(crate) fn opening_ticket(opening: &Opening) -> &Ticket {
    match opening {
        Opening::Join(join) => &join.ticket,
        Opening::SignOn(on) => &on.ticket,
        Opening::Resume(_, ticket) => ticket,
    }
}

/// A message on one line.
fn brief(message: &Message) -> String {
    match message {
        Message::Said(it) => {
            let head = head(&it.text);
            format!("said {} #{} nonce {} {head}", it.call, it.seq.0, it.nonce.0)
        }
        other => {
            let mut all = format!("{other:?}");
            all.truncate(200);
            all
        }
    }
}

/// How a line begins, to be found in a trace.
pub(crate) fn head(text: &Text) -> String {
    text.as_str().chars().take(12).collect()
}
