//! The client's end, over as many connections as it takes.
//!
//! ```text
//!              Welcome           Admitted
//!   Greeting ──────────► Asking ──────────► Seated
//!     ▲ └──────┐            │ │                │
//!     │        │            │ │   a break      │
//! connected    │            ├─┼────────────────┤
//!     │        ▼            │ │                │
//!   Offline ◄──┼────────────┘ │                │
//!              └──► Over ◄────┴────────────────┘
//!                         a goodbye for good
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use bytes::Bytes;

use crate::{
    code::Code,
    error::{DecodeError, FrameError},
    frame::Frame,
    ids::{CallId, Nonce, Seq, Side, Ticket},
    limits,
    message::{
        EndSeen, Error, HangUp, Message, Ping, Pong, Ref, Said, Say, Shown, Typing, Welcome,
    },
    text::{Agent, Detail, Text},
    time::Moment,
    version,
};

use self::{
    call::{Follows, HangingUp, OpenCall},
    ghosts::Ghosts,
    requests::{Asked, Requests},
};
use super::outbox::Unsaid;

pub use self::event::{ClientEvent, Lost, NotOpen, Opening};

mod call;
mod event;
mod ghosts;
mod requests;
mod resuming;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    Asking,
    Seated,
    Offline,
    Over,
}

/// How many calls a server may open on one connection before it counts as broken.
const CALLS: usize = 64;

/// How many frames may wait for the connection before a `Pong` or `Typing` is left out: what
/// waits says as much.
const WAITING: usize = 64;

/// The bounds of what a server may ask for as keepalive, in milliseconds.
const KEEPALIVE: (u64, u64) = (1_000, limits::KEEPALIVE.as_secs() * 1_000);

/// Calls remembered whose end was shown: should the answer to it be lost, it is given again.
const SEEN: usize = limits::RESUMED_CALLS / 2;

/// The client's side of the protocol, from the first connection to the last. `Debug` shows nothing of what is said
/// on it.
pub struct ClientSession {
    phase: Phase,
    agent: Agent,
    side: Side,
    ticket: Ticket,
    /// What is asked for first, until it is granted.
    opening: Option<Message>,
    /// What was asked for first may have been granted.
    has_asked: bool,
    /// It is let in again, and doesn't know yet which of its lines are recorded.
    resumes: bool,
    ghosts: Ghosts,
    begun: Moment,
    sent: Moment,
    heard: Moment,
    keepalive: u64,
    calls: BTreeMap<CallId, OpenCall>,
    /// The ends shown last.
    seen: VecDeque<Shown>,
    requests: Requests,
    transmit: VecDeque<Bytes>,
    events: VecDeque<ClientEvent>,
}

impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut session = f.debug_struct("ClientSession");
        session.field("phase", &self.phase).field("transmit", &self.transmit.len());
        session.field("events", &self.events.len()).finish_non_exhaustive()
    }
}

impl ClientSession {
    /// Begins on a connection made now. `agent` says which program this is.
    #[must_use]
    pub fn new(opening: Opening, agent: Agent, now: Moment) -> Self {
        let (side, ticket, opening) = match opening {
            Opening::Join(join) => (Side::Caller, join.ticket.clone(), Some(join.into())),
            Opening::SignOn(on) => (Side::Operator, on.ticket.clone(), Some(on.into())),
            Opening::Resume(side, ticket) => (side, ticket, None),
        };
        let mut session = Self {
            phase: Phase::Offline,
            agent,
            side,
            ticket,
            opening,
            has_asked: false,
            resumes: false,
            ghosts: Ghosts::at_start(now),
            begun: now,
            sent: now,
            heard: now,
            keepalive: KEEPALIVE.1,
            calls: BTreeMap::new(),
            seen: VecDeque::new(),
            requests: Requests::default(),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
        };
        session.connected(now);
        session
    }

    /// Takes in a frame.
    pub fn handle(&mut self, frame: Frame<'_>, now: Moment) {
        match Message::decode(frame) {
            Ok(message) => self.handle_message(frame.reference, message, now),
            Err(error @ DecodeError::UnknownKind(_)) => self.unknown(error, now),
            Err(error) => self.lose(Lost::NotHelpline(error)),
        }
    }

    /// A newer server may send what this version doesn't know, once it has said `Welcome`.
    fn unknown(&mut self, error: DecodeError, now: Moment) {
        match self.phase {
            Phase::Greeting => self.lose(Lost::NotHelpline(error)),
            _ => self.heard = now,
        }
    }

    /// Takes in a message, for connections that carry no frames.
    pub fn handle_message(&mut self, reference: Ref, message: Message, now: Moment) {
        if !message.kind().direction.reaches_client() {
            return self.unknown(DecodeError::UnknownKind(message.kind().number), now);
        }
        self.heard = now;
        match (self.phase, message) {
            (Phase::Offline | Phase::Over, _) | (_, Message::Pong(_)) => {}
            (_, Message::Goodbye(goodbye)) => self.lose(Lost::Goodbye(goodbye)),
            // Nothing but Hello may go before the welcome.
            (Phase::Greeting, Message::Ping(_)) => {}
            (_, Message::Ping(_)) if self.transmit.len() >= WAITING => {}
            (_, Message::Ping(_)) => self.push(reference, Pong {}.into()),
            (Phase::Greeting, Message::Welcome(welcome)) => self.welcomed(welcome),
            (Phase::Asking, message @ Message::Admitted(_)) => {
                self.phase = Phase::Seated;
                self.resumes = self.opening.take().is_none();
                self.told(reference, message);
            }
            (Phase::Asking, message @ (Message::Busy(_) | Message::Closed(_)))
                if self.opening.is_some() =>
            {
                // The ticket stands for nobody, so there is nothing to come back to.
                self.has_asked = false;
                self.told(reference, message);
            }
            (Phase::Greeting | Phase::Asking, message)
            | (Phase::Seated, message @ (Message::Hello(_) | Message::Welcome(_))) => {
                self.out_of_turn(format!("{} has no place here", message.kind().name));
            }
            (Phase::Seated, message) => self.seated(reference, message),
        }
    }

    fn out_of_turn(&mut self, reason: String) {
        self.lose(Lost::NotHelpline(DecodeError::OutOfTurn(reason)));
    }

    fn welcomed(&mut self, welcome: Welcome) {
        if !(version::SPOKEN.lowest..=version::SPOKEN.highest).contains(&welcome.version) {
            let reason = format!("it chose version {}, not offered", welcome.version.0);
            return self.out_of_turn(reason);
        }
        self.keepalive = u64::from(welcome.keepalive_ms).clamp(KEEPALIVE.0, KEEPALIVE.1);
        self.phase = Phase::Asking;
        self.has_asked = true;
        self.events.push_back(ClientEvent::Welcomed(welcome));
        let asks = self.opening.clone().unwrap_or_else(|| self.resume().into());
        self.push(Ref::NONE, asks);
    }

    fn seated(&mut self, reference: Ref, message: Message) {
        match &message {
            Message::Resumed(resumed) if !self.resumed(resumed) => return,
            Message::PutBack(put_back) => self.gone(put_back.call, Code::PUT_BACK),
            Message::Place(place) if !self.open(place.call, place.next_nonce) => return,
            Message::Connected(it) if !self.open(it.call, it.next_nonce) => return,
            Message::Said(said) => {
                if !self.entry(said.call, said.seq) {
                    return;
                }
                let own = self.own_line(said);
                return self.events.push_back(ClientEvent::Told(own, message));
            }
            Message::Joined(joined) if !self.entry(joined.call, joined.seq) => return,
            Message::Left(left) if !self.entry(left.call, left.seq) => return,
            Message::Ended(ended) => {
                if !self.entry(ended.call, ended.seq) {
                    return;
                }
                if let Some(open) = self.calls.get_mut(&ended.call) {
                    open.end = Some(ended.seq);
                }
                self.give_up(ended.call, Some(Code::CALL_ENDED));
            }
            Message::Error(error) => {
                let code = error.code;
                match self.requests.find(reference) {
                    Some(Asked::Say(call, nonce)) => {
                        self.requests.answered(reference);
                        return self.refused(call, nonce, code);
                    }
                    // Both sides hung up at once, or it was heard the first time: it has what it wanted.
                    Some(Asked::HangUp(call, _))
                        if code == Code::CALL_ENDED || !self.is_open(call) =>
                    {
                        self.requests.answered(reference);
                        return;
                    }
                    Some(Asked::HangUp(call, _)) => {
                        if let Some(open) = self.calls.get_mut(&call) {
                            open.hang_up = HangingUp::No;
                        }
                    }
                    Some(Asked::Other(_)) | None => {}
                }
            }
            _ => {}
        }
        self.told(reference, message);
    }

    /// Opens a call that isn't open yet, nor shown to its end. A server that opens too many is no server.
    fn open(&mut self, call: CallId, next_nonce: Nonce) -> bool {
        if self.has_seen(call) {
            return false;
        }
        if self.calls.len() >= CALLS && !self.calls.contains_key(&call) {
            self.out_of_turn(format!("it opened more than {CALLS} calls"));
            return false;
        }
        self.calls.entry(call).or_insert_with(|| OpenCall::new(next_nonce));
        true
    }

    /// Whether the entry is the next one of an open call; a repeated one is passed over.
    fn entry(&mut self, call: CallId, seq: Seq) -> bool {
        match self.calls.get_mut(&call).map(|open| open.hear(seq)) {
            Some(Follows::Next) => true,
            Some(Follows::Again) | None => false,
            Some(Follows::Gap(last)) => {
                self.lose(Lost::Gap(last));
                false
            }
        }
    }

    /// Whether the end of the call was shown.
    fn has_seen(&self, call: CallId) -> bool {
        self.seen.iter().any(|seen| seen.call == call)
    }

    /// The reference of the line that this entry is, if this client asked for it.
    fn own_line(&mut self, said: &Said) -> Ref {
        if said.from != self.side {
            return Ref::NONE;
        }
        self.requests.said(said.call, said.nonce);
        let open = self.calls.get_mut(&said.call);
        match open.and_then(|open| open.outbox.said(said.nonce)) {
            Some(line) if line.text == said.text => line.reference,
            // Somebody else on this side was recorded under the number, so this line never can be.
            Some(line) => {
                self.not_said(said.call, line, Some(Code::NONCE));
                Ref::NONE
            }
            None => Ref::NONE,
        }
    }

    fn not_said(&mut self, call: CallId, line: Unsaid, why: Option<Code>) {
        let Unsaid { text, reference, .. } = line;
        self.events.push_back(ClientEvent::NotSaid { call, text, reference, why });
    }

    fn refused(&mut self, call: CallId, nonce: Nonce, code: Code) {
        let unsaid = self.calls.get_mut(&call).and_then(|open| open.outbox.remove(nonce));
        if let Some(unsaid) = unsaid {
            self.not_said(call, unsaid, Some(code));
        }
    }

    /// Gives up the lines of a call that takes no more. Once the end has come, so have all entries; otherwise
    /// nobody knows what became of what was sent.
    fn give_up(&mut self, call: CallId, why: Option<Code>) {
        let Some(open) = self.calls.get_mut(&call) else { return };
        let has_ended = open.end.is_some();
        let [recorded, unsaid] = open.outbox.give_up();
        for line in recorded {
            self.not_said(call, line, None);
        }
        for line in unsaid {
            let why = why.filter(|_| has_ended || !line.was_sent);
            self.not_said(call, line, why);
        }
    }

    fn told(&mut self, reference: Ref, message: Message) {
        let reference = match self.requests.answered(reference) {
            Some(Asked::Other(reference) | Asked::HangUp(_, reference)) => reference,
            Some(Asked::Say(..)) | None => Ref::NONE,
        };
        self.events.push_back(ClientEvent::Told(reference, message));
    }

    fn is_open(&self, call: CallId) -> bool {
        self.calls.get(&call).is_some_and(|open| open.end.is_none())
    }

    /// Takes in bytes that are not a frame.
    pub fn handle_garbage(&mut self, error: FrameError) {
        self.lose(Lost::NotHelpline(error.into()));
    }

    /// The connection has ended.
    pub fn handle_end(&mut self) {
        self.lose(Lost::Broken);
    }

    /// No further connection will be tried. Unsaid lines are kept: they may still be
    /// [`restored`](Self::restore).
    pub fn stop(&mut self, lost: Lost) {
        self.end(lost);
    }

    /// Wants a line said, now or over a later connection. `reference` comes back with what becomes of it.
    ///
    /// # Errors
    /// The call isn't open here, has ended, or this side hangs up already; or nothing follows any more.
    pub fn say(&mut self, call: CallId, text: Text, reference: Ref) -> Result<Nonce, NotOpen> {
        let open = self.open_call(call).filter(|open| open.takes_more()).ok_or(NotOpen)?;
        open.outbox.push(text, reference).ok_or(NotOpen)
    }

    /// Hangs up, behind everything that was to be said before. What follows is `Ended`; `reference`
    /// comes back only with an error. Once is enough: a second time changes nothing.
    ///
    /// # Errors
    /// The call isn't open here, or has ended; or nothing follows any more.
    pub fn hang_up(&mut self, call: CallId, reference: Ref) -> Result<(), NotOpen> {
        let open = self.open_call(call).filter(|open| open.end.is_none()).ok_or(NotOpen)?;
        if open.hang_up == HangingUp::No {
            open.hang_up = HangingUp::Wanted(reference);
        }
        Ok(())
    }

    fn open_call(&mut self, call: CallId) -> Option<&mut OpenCall> {
        self.calls.get_mut(&call).filter(|_| self.phase != Phase::Over)
    }

    /// Lets the other side know that somebody types.
    pub fn typing(&mut self, call: CallId) {
        let open = self.calls.get(&call).is_some_and(OpenCall::takes_more);
        if open && self.phase == Phase::Seated && self.transmit.len() < WAITING {
            self.push(Ref::NONE, Typing { call }.into());
        }
    }

    /// Asks for anything else: `Next`, `Answer`, `Ready`, `Pause`, `SignOff`. While the client isn't let
    /// in, the answer is an `Error` from this session; so it is, as
    /// [`UNANSWERED`](Code::UNANSWERED) and if it has a reference, when the connection is lost before the answer
    /// comes. None of these is ever sent twice. [`Over`](ClientEvent::Over) answers whatever is left.
    pub fn request(&mut self, request: Message, reference: Ref) {
        match self.phase {
            Phase::Seated => {}
            Phase::Over => return,
            Phase::Greeting | Phase::Asking | Phase::Offline => {
                let detail = "there is no connection at the moment";
                let error = Error { code: Code::OUT_OF_TURN, detail: Detail::cut(detail) };
                return self.events.push_back(ClientEvent::Told(reference, error.into()));
            }
        }
        let reference = self.ask(Asked::Other(reference));
        self.push(reference, request);
    }

    /// An entry has been shown. The end of a call, once shown, is answered.
    pub fn shown(&mut self, call: CallId, seq: Seq) {
        if self.calls.get(&call).and_then(|open| open.end).is_some_and(|end| seq >= end) {
            self.calls.remove(&call);
            if self.seen.len() == SEEN {
                self.seen.pop_front();
            }
            self.seen.push_back(Shown { call, seq });
            // Whoever comes back answers the ends that are listed.
            if self.phase == Phase::Seated && !self.resumes {
                self.push(Ref::NONE, EndSeen { call }.into());
            }
        }
    }

    /// Whether there is nothing to be told to the server any more: no line, no hanging up.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.calls.values().all(OpenCall::is_idle)
    }

    /// The lines that are not known to be recorded, with their calls and nonces, in order. Resuming may change
    /// the nonces: whoever keeps them for a later process keeps these before anything more is transmitted.
    pub fn unsaid_lines(&self) -> impl Iterator<Item = (CallId, Nonce, &Text)> {
        self.calls
            .iter()
            .flat_map(|(call, open)| open.outbox.iter().map(|line| (*call, line.nonce, &line.text)))
    }

    /// How many lines are not known to be recorded.
    #[must_use]
    pub fn unsaid(&self) -> usize {
        self.calls.values().map(|open| open.outbox.len()).sum()
    }

    /// How many bytes they have, and those that are recorded but whose entries are still to come. Past
    /// [`limits::UNSAID`] no further input should be read.
    #[must_use]
    pub fn unsaid_bytes(&self) -> usize {
        self.calls.values().map(|open| open.outbox.bytes()).sum()
    }

    /// Nothing is read at the moment, for a reason of this end's own: what the server may have sent by now
    /// can't be known, so its silence counts from anew.
    pub fn not_reading(&mut self, now: Moment) {
        if self.phase == Phase::Seated {
            self.heard = now;
        }
    }

    /// Acts on whatever deadline has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        match self.deadline() {
            Some((at, lost)) if now >= at => self.lose(lost),
            _ if self.ping_at().is_some_and(|at| now >= at) => {
                self.push(Ref::NONE, Ping {}.into());
                self.sent = now;
            }
            _ => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let (dead, _) = self.deadline()?;
        Some(self.ping_at().map_or(dead, |at| at.min(dead)))
    }

    /// When the connection counts as lost.
    fn deadline(&self) -> Option<(Moment, Lost)> {
        match self.phase {
            Phase::Offline | Phase::Over => None,
            Phase::Seated if !self.resumes => Some((self.heard + limits::SILENCE, Lost::Silent)),
            // Whoever has been let in before tries again soon.
            _ if self.opening.is_none() => {
                Some((self.begun + limits::RECONNECT_TRY, Lost::NoAnswer))
            }
            _ => Some((self.begun + limits::HANDSHAKE, Lost::NoAnswer)),
        }
    }

    /// When the server has to be shown that somebody is there. Hello comes before anything else.
    fn ping_at(&self) -> Option<Moment> {
        matches!(self.phase, Phase::Asking | Phase::Seated)
            .then(|| Moment(self.sent.0.saturating_add(self.keepalive)))
    }

    /// The next frame to send.
    pub fn poll_transmit(&mut self, now: Moment) -> Option<Bytes> {
        let frame =
            self.transmit.pop_front().or_else(|| self.next_say()).or_else(|| self.next_hang_up());
        if frame.is_some() {
            self.sent = now;
        }
        frame
    }

    fn next_say(&mut self) -> Option<Bytes> {
        if self.phase != Phase::Seated || self.resumes {
            return None;
        }
        let (call, say) = self.calls.iter_mut().find_map(|(call, open)| {
            let unsaid = open.outbox.send()?;
            Some((*call, Say { call: *call, nonce: unsaid.nonce, text: unsaid.text.clone() }))
        })?;
        let reference = self.ask(Asked::Say(call, say.nonce));
        Message::from(say).to_frame(reference).ok()
    }

    fn next_hang_up(&mut self) -> Option<Bytes> {
        if self.phase != Phase::Seated || self.resumes {
            return None;
        }
        let (call, reference) =
            self.calls.iter_mut().find_map(|(call, open)| Some((*call, open.send_hang_up()?)))?;
        let reference = self.ask(Asked::HangUp(call, reference));
        Message::from(HangUp { call }).to_frame(reference).ok()
    }

    /// The next thing learnt.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    fn ask(&mut self, asked: Asked) -> Ref {
        let calls = &self.calls;
        self.requests
            .ask(asked, |call, nonce| calls.get(&call).is_some_and(|open| open.outbox.holds(nonce)))
    }

    fn end(&mut self, lost: Lost) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Over;
        self.requests = Requests::default();
        self.transmit.clear();
        self.events.push_back(ClientEvent::Over(lost));
    }

    fn push(&mut self, reference: Ref, message: Message) {
        // Nothing that passes here comes near the limit of a frame.
        if let Ok(frame) = message.to_frame(reference) {
            self.transmit.push_back(frame);
        }
    }
}

/// Answers a request by itself, if that has a reference.
fn fail(events: &mut VecDeque<ClientEvent>, theirs: Ref, code: Code, detail: &str) {
    if theirs != Ref::NONE {
        let error = Error { code, detail: Detail::cut(detail) };
        events.push_back(ClientEvent::Told(theirs, error.into()));
    }
}
