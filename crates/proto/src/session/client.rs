//! The client's end.
//!
//! ```text
//!            Welcome           Admitted
//! Greeting ──────────► Asking ──────────► Seated
//!    └────────────────────┴──────────────────┴──► Over
//!          a goodbye, silence, bytes that are none
//! ```

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::{
    code::Code,
    error::{DecodeError, FrameError},
    frame::Frame,
    ids::{CallId, Nonce, Seq, Side},
    limits,
    message::{
        EndSeen, Error, Goodbye, HangUp, Hello, Join, Message, Ping, Pong, Ref, Said, Say, SignOn,
        Typing, Welcome,
    },
    text::{Agent, Detail, Text},
    time::Moment,
    version,
};

use super::outbox::Outbox;

/// What a client asks for first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A place in the queue.
    Join(Join),
    /// To answer callers.
    SignOn(SignOn),
}

/// What a client learns.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// The server speaks this protocol.
    Welcomed(Welcome),
    /// Something for the person or program that uses the client: any message to a caller or an
    /// operator, or an `Error`. The reference is the one the request was made with.
    Told(Ref, Message),
    /// A line will not be said, or isn't known to have been when the connection was lost.
    NotSaid {
        /// The call it was meant for.
        call: CallId,
        /// The line.
        text: Text,
        /// The reference it was given.
        reference: Ref,
        /// Why; `None` when the connection was lost.
        why: Option<Code>,
    },
    /// The connection is of no more use. Nothing follows.
    Over(Lost),
}

/// Why a connection is of no more use.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Lost {
    /// The server parted.
    #[error("the server said goodbye: {}", .0.detail)]
    Goodbye(Goodbye),
    /// The server did not answer in time.
    #[error("the server did not answer")]
    NoAnswer,
    /// Nothing was heard for too long.
    #[error("nothing was heard from the server for 45 s")]
    Silent,
    /// The connection ended without a goodbye.
    #[error("the connection broke")]
    Broken,
    /// What came is not this protocol.
    #[error("what answers there is not a Helpline server: {0}")]
    NotHelpline(DecodeError),
    /// An entry is missing between two that came.
    #[error("an entry is missing behind number {}", .0.0)]
    Gap(Seq),
}

/// The call isn't open on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call is not open")]
pub struct NotOpen;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    Asking,
    Seated,
    Over,
}

#[derive(Debug)]
struct OpenCall {
    outbox: Outbox,
    /// The last entry that came.
    heard: Seq,
    /// The entry that ended it.
    end: Option<Seq>,
    hang_up: HangingUp,
}

impl OpenCall {
    /// Whether anything may still be asked for in it.
    fn takes_more(&self) -> bool {
        self.end.is_none() && self.hang_up == HangingUp::No
    }
}

/// How far this side's own hanging up has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HangingUp {
    No,
    /// Wanted, behind the lines that are still to be sent.
    Wanted(Ref),
    Sent,
}

/// What a wire reference was given out for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Say(CallId, Nonce),
    HangUp(CallId, Ref),
    Other(Ref),
}

/// How many requests the session remembers while they have no answer.
const REMEMBERED: usize = 4 * limits::UNANSWERED;

/// How many calls a server may open on one connection before it counts as broken.
const CALLS: usize = 64;

/// How many frames may wait for the connection before a `Pong` or `Typing` is left out: what
/// waits says as much.
const WAITING: usize = 64;

/// The bounds of what a server may ask for as keepalive, in milliseconds.
const KEEPALIVE: (u64, u64) = (1_000, limits::KEEPALIVE.as_secs() * 1_000);

/// The client's side of the protocol on one connection.
#[derive(Debug)]
pub struct ClientSession {
    phase: Phase,
    side: Side,
    opening: Option<Opening>,
    begun: Moment,
    sent: Moment,
    heard: Moment,
    keepalive: u64,
    calls: BTreeMap<CallId, OpenCall>,
    asked: VecDeque<(Ref, Asked)>,
    last_ref: u32,
    transmit: VecDeque<Bytes>,
    events: VecDeque<ClientEvent>,
}

impl ClientSession {
    /// Begins on a connection made now. `agent` says which program this is.
    #[must_use]
    pub fn new(opening: Opening, agent: Agent, now: Moment) -> Self {
        let side = match opening {
            Opening::Join(_) => Side::Caller,
            Opening::SignOn(_) => Side::Operator,
        };
        let mut session = Self {
            phase: Phase::Greeting,
            side,
            opening: Some(opening),
            begun: now,
            sent: now,
            heard: now,
            keepalive: KEEPALIVE.1,
            calls: BTreeMap::new(),
            asked: VecDeque::new(),
            last_ref: 0,
            transmit: VecDeque::new(),
            events: VecDeque::new(),
        };
        let hello = Hello { versions: version::SPOKEN, features: 0, agent };
        session.push(Ref::NONE, hello.into());
        session
    }

    /// Takes in a frame.
    pub fn handle(&mut self, frame: Frame<'_>, now: Moment) {
        match Message::decode(frame) {
            Ok(message) => self.handle_message(frame.reference, message, now),
            Err(error @ DecodeError::UnknownKind(_)) => self.unknown(error, now),
            Err(error) => self.over(Lost::NotHelpline(error)),
        }
    }

    /// A newer server may send what this version doesn't know, once it has said `Welcome`.
    fn unknown(&mut self, error: DecodeError, now: Moment) {
        match self.phase {
            Phase::Greeting => self.over(Lost::NotHelpline(error)),
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
            (Phase::Over, _) | (_, Message::Pong(_)) => {}
            (_, Message::Goodbye(goodbye)) => self.over(Lost::Goodbye(goodbye)),
            (_, Message::Ping(_)) if self.transmit.len() >= WAITING => {}
            (_, Message::Ping(_)) => self.push(reference, Pong {}.into()),
            (Phase::Greeting, Message::Welcome(welcome)) => self.welcomed(welcome),
            (Phase::Asking, message @ Message::Admitted(_)) => {
                self.phase = Phase::Seated;
                self.told(reference, message);
            }
            (Phase::Asking, message @ (Message::Busy(_) | Message::Closed(_))) => {
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
        self.over(Lost::NotHelpline(DecodeError::OutOfTurn(reason)));
    }

    fn welcomed(&mut self, welcome: Welcome) {
        if !(version::SPOKEN.lowest..=version::SPOKEN.highest).contains(&welcome.version) {
            let reason = format!("it chose version {}, not offered", welcome.version.0);
            return self.out_of_turn(reason);
        }
        self.keepalive = u64::from(welcome.keepalive_ms).clamp(KEEPALIVE.0, KEEPALIVE.1);
        self.phase = Phase::Asking;
        let opening = self.opening.take().map(|opening| match opening {
            Opening::Join(join) => Message::from(join),
            Opening::SignOn(sign_on) => Message::from(sign_on),
        });
        self.events.push_back(ClientEvent::Welcomed(welcome));
        if let Some(opening) = opening {
            self.push(Ref::NONE, opening);
        }
    }

    fn seated(&mut self, reference: Ref, message: Message) {
        match &message {
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
                match self.asked.iter().find(|(asked, _)| *asked == reference).map(|(_, it)| *it) {
                    Some(Asked::Say(call, nonce)) => {
                        self.answered(reference);
                        return self.refused(call, nonce, code);
                    }
                    // Both sides hung up at once: it has what it wanted.
                    Some(Asked::HangUp(call, _)) if !self.is_open(call) => {
                        self.answered(reference);
                        return;
                    }
                    Some(Asked::HangUp(..) | Asked::Other(_)) | None => {}
                }
            }
            _ => {}
        }
        self.told(reference, message);
    }

    /// Opens a call that isn't open yet. A server that opens too many is no server.
    fn open(&mut self, call: CallId, next_nonce: Nonce) -> bool {
        if self.calls.len() >= CALLS && !self.calls.contains_key(&call) {
            self.out_of_turn(format!("it opened more than {CALLS} calls"));
            return false;
        }
        self.calls.entry(call).or_insert_with(|| OpenCall {
            outbox: Outbox::new(next_nonce),
            heard: Seq(0),
            end: None,
            hang_up: HangingUp::No,
        });
        true
    }

    /// Whether the entry is the next one of an open call; a repeated one is passed over.
    fn entry(&mut self, call: CallId, seq: Seq) -> bool {
        let Some(open) = self.calls.get_mut(&call) else { return false };
        if seq <= open.heard {
            return false;
        }
        if open.heard.next() != Some(seq) {
            let last = open.heard;
            self.over(Lost::Gap(last));
            return false;
        }
        open.heard = seq;
        true
    }

    /// The reference of the line that this entry is, if this client asked for it.
    fn own_line(&mut self, said: &Said) -> Ref {
        if said.from != self.side {
            return Ref::NONE;
        }
        self.asked.retain(
            |(_, asked)| !matches!(asked, Asked::Say(call, nonce) if call == &said.call && nonce == &said.nonce),
        );
        let open = self.calls.get_mut(&said.call);
        open.and_then(|open| open.outbox.said(said.nonce)).unwrap_or_default()
    }

    fn refused(&mut self, call: CallId, nonce: Nonce, code: Code) {
        let unsaid = self.calls.get_mut(&call).and_then(|open| open.outbox.remove(nonce));
        if let Some(unsaid) = unsaid {
            self.events.push_back(ClientEvent::NotSaid {
                call,
                text: unsaid.text,
                reference: unsaid.reference,
                why: Some(code),
            });
        }
    }

    fn give_up(&mut self, call: CallId, why: Option<Code>) {
        let Some(open) = self.calls.get_mut(&call) else { return };
        for unsaid in open.outbox.give_up() {
            self.events.push_back(ClientEvent::NotSaid {
                call,
                text: unsaid.text,
                reference: unsaid.reference,
                why,
            });
        }
    }

    fn told(&mut self, reference: Ref, message: Message) {
        let reference = match self.answered(reference) {
            Some(Asked::Other(reference) | Asked::HangUp(_, reference)) => reference,
            Some(Asked::Say(..)) | None => Ref::NONE,
        };
        self.events.push_back(ClientEvent::Told(reference, message));
    }

    fn is_open(&self, call: CallId) -> bool {
        self.calls.get(&call).is_some_and(|open| open.end.is_none())
    }

    fn answered(&mut self, reference: Ref) -> Option<Asked> {
        if reference == Ref::NONE {
            return None;
        }
        let at = self.asked.iter().position(|(asked, _)| *asked == reference)?;
        self.asked.remove(at).map(|(_, asked)| asked)
    }

    /// Takes in bytes that are not a frame.
    pub fn handle_garbage(&mut self, error: FrameError) {
        self.over(Lost::NotHelpline(error.into()));
    }

    /// The connection has ended.
    pub fn handle_end(&mut self) {
        self.over(Lost::Broken);
    }

    /// Wants a line said. `reference` comes back with what becomes of it.
    ///
    /// # Errors
    /// The call isn't open here, has ended, or this side hangs up already.
    pub fn say(&mut self, call: CallId, text: Text, reference: Ref) -> Result<Nonce, NotOpen> {
        let open = self.calls.get_mut(&call).filter(|open| open.takes_more()).ok_or(NotOpen)?;
        open.outbox.push(text, reference).ok_or(NotOpen)
    }

    /// Hangs up, behind everything that was to be said before. What follows is `Ended`; `reference`
    /// comes back only with an error. Once is enough: a second time changes nothing.
    ///
    /// # Errors
    /// The call isn't open here, or has ended.
    pub fn hang_up(&mut self, call: CallId, reference: Ref) -> Result<(), NotOpen> {
        let open = self.calls.get_mut(&call).filter(|open| open.end.is_none()).ok_or(NotOpen)?;
        if open.hang_up == HangingUp::No {
            open.hang_up = HangingUp::Wanted(reference);
        }
        Ok(())
    }

    /// Lets the other side know that somebody types.
    pub fn typing(&mut self, call: CallId) {
        let open = self.calls.get(&call).is_some_and(OpenCall::takes_more);
        if open && self.transmit.len() < WAITING {
            self.push(Ref::NONE, Typing { call }.into());
        }
    }

    /// Asks for anything else: `Next`, `Answer`, `Ready`, `Pause`, `SignOff`. Before the client is let
    /// in, the answer is an `Error` from this session.
    pub fn request(&mut self, request: Message, reference: Ref) {
        match self.phase {
            Phase::Seated => {}
            Phase::Over => return,
            Phase::Greeting | Phase::Asking => {
                let detail = Detail::cut("the server has not let this client in yet");
                let error = Error { code: Code::OUT_OF_TURN, detail };
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
            self.push(Ref::NONE, EndSeen { call }.into());
        }
    }

    /// How many lines are not known to be recorded.
    #[must_use]
    pub fn unsaid(&self) -> usize {
        self.calls.values().map(|open| open.outbox.len()).sum()
    }

    /// How many bytes they have. Past [`limits::UNSAID`] no further input should be read.
    #[must_use]
    pub fn unsaid_bytes(&self) -> usize {
        self.calls.values().map(|open| open.outbox.bytes()).sum()
    }

    /// Acts on whatever deadline has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        match self.phase {
            Phase::Over => {}
            Phase::Greeting | Phase::Asking if now >= self.begun + limits::HANDSHAKE => {
                self.over(Lost::NoAnswer);
            }
            Phase::Seated if now >= self.heard + limits::SILENCE => self.over(Lost::Silent),
            _ if now.0 >= self.sent.0.saturating_add(self.keepalive) => {
                self.push(Ref::NONE, Ping {}.into());
                self.sent = now;
            }
            _ => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let dead = match self.phase {
            Phase::Over => return None,
            Phase::Greeting | Phase::Asking => self.begun + limits::HANDSHAKE,
            Phase::Seated => self.heard + limits::SILENCE,
        };
        Some(dead.min(Moment(self.sent.0.saturating_add(self.keepalive))))
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
        let (call, say) = self.calls.iter_mut().find_map(|(call, open)| {
            let unsaid = open.outbox.send()?;
            Some((*call, Say { call: *call, nonce: unsaid.nonce, text: unsaid.text.clone() }))
        })?;
        let reference = self.ask(Asked::Say(call, say.nonce));
        Message::from(say).to_frame(reference).ok()
    }

    fn next_hang_up(&mut self) -> Option<Bytes> {
        let (call, reference) = self.calls.iter_mut().find_map(|(call, open)| {
            let HangingUp::Wanted(reference) = open.hang_up else { return None };
            if open.end.is_some() || !open.outbox.all_sent() {
                return None;
            }
            open.hang_up = HangingUp::Sent;
            Some((*call, reference))
        })?;
        let reference = self.ask(Asked::HangUp(call, reference));
        Message::from(HangUp { call }).to_frame(reference).ok()
    }

    /// The next thing learnt.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    fn ask(&mut self, asked: Asked) -> Ref {
        self.last_ref = self.last_ref.checked_add(1).unwrap_or(1);
        if self.asked.len() >= REMEMBERED {
            // Lines under way are never forgotten; their number is bounded by that of the calls.
            let under_way = |call, nonce| {
                self.calls.get(call).is_some_and(|open: &OpenCall| open.outbox.holds(nonce))
            };
            let forgotten = self.asked.iter().position(|(_, asked)| match asked {
                Asked::Say(call, nonce) => !under_way(call, *nonce),
                Asked::HangUp(..) | Asked::Other(_) => true,
            });
            forgotten.and_then(|at| self.asked.remove(at));
        }
        self.asked.push_back((Ref(self.last_ref), asked));
        Ref(self.last_ref)
    }

    fn over(&mut self, lost: Lost) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Over;
        let calls: Vec<CallId> = self.calls.keys().copied().collect();
        for call in calls {
            self.give_up(call, None);
        }
        self.calls.clear();
        self.asked.clear();
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
