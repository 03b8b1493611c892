//! The server's end.
//!
//! ```text
//!            Hello        Join, SignOn, Resume         Admitted
//! Strange ──────────► Welcomed ──────────────► Asked ────────────────► Seated
//!    │                   │                       │ Busy, Closed           │
//!    └───────────────────┴───────────────────────┴────────────────────────┴──► Closing
//!                         a Goodbye, either way, at any time
//! ```

use std::{collections::VecDeque, fmt};

use bytes::Bytes;

use crate::{
    code::Code,
    error::{DecodeError, FrameError},
    frame::Frame,
    ids::{Resumable, Side},
    limits,
    message::{
        Admitted, Answer, Ban, Busy, Closed, Direction, EndSeen, Error, Goodbye, HangUp, Hello,
        Invite, Join, Limits, Message, Pong, Ref, Resume, Say, SignOn, Typing, Welcome,
    },
    text::Detail,
    time::Moment,
    version,
};

use super::rate::Rate;

/// What the one who hosts the line may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Says a second that a connection may keep up; `None` for any number. Whatever else a peer
    /// sends counts the same, so that nothing can be flooded with.
    pub says_a_second: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { says_a_second: Some(limits::SAYS_A_SECOND) }
    }
}

/// What a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It asks for help.
    Caller,
    /// It answers.
    Operator,
}

/// What a well-behaved peer asks of the switchboard, with the reference its answer needs.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerEvent {
    /// A caller wants a place.
    Join(Ref, Join),
    /// An operator wants to answer.
    SignOn(Ref, SignOn),
    /// A caller or an operator comes back.
    Resume(Ref, Resume),
    /// Either side wants something said.
    Say(Ref, Say),
    /// Either side hangs up.
    HangUp(Ref, HangUp),
    /// Either side types.
    Typing(Typing),
    /// Either side has shown the end of a call.
    EndSeen(EndSeen),
    /// An operator takes the oldest waiting call.
    Next(Ref),
    /// An operator takes the offered call.
    Answer(Ref, Answer),
    /// An operator is available.
    Ready(Ref),
    /// An operator takes a break.
    Pause(Ref),
    /// An operator leaves.
    SignOff(Ref),
    /// An operator bans a caller's address.
    Ban(Ref, Ban),
    /// An operator wants an invitation.
    Invite(Ref, Invite),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Strange,
    Welcomed,
    Asked(Role),
    Seated(Role),
    Closing,
}

/// The server's side of the protocol on one connection. `Debug` shows nothing of what is said on it.
pub struct ServerSession {
    phase: Phase,
    accepted: Moment,
    heard: Moment,
    says: Option<Rate>,
    /// When `Typing` was passed on last.
    typed: Option<Moment>,
    /// None in a session in which nothing happens.
    passing: Option<Box<Passing>>,
}

/// What is on its way through a session.
#[derive(Debug, Default)]
struct Passing {
    transmit: VecDeque<Bytes>,
    /// The bytes in `transmit`.
    waiting: usize,
    /// Since when the connection has taken nothing of what waits for it.
    stuck: Option<Moment>,
    /// Since when there is a part of a frame.
    frame_begun: Option<Moment>,
    events: VecDeque<ServerEvent>,
}

impl fmt::Debug for ServerSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut session = f.debug_struct("ServerSession");
        session.field("phase", &self.phase).field("waiting", &self.waiting());
        session.finish_non_exhaustive()
    }
}

impl ServerSession {
    /// Begins with a connection accepted now.
    #[must_use]
    pub fn new(settings: Settings, now: Moment) -> Self {
        let says = settings.says_a_second;
        Self {
            phase: Phase::Strange,
            accepted: now,
            heard: now,
            says: says.map(|says| Rate::new(says, limits::SAYS_AT_ONCE.max(says), now)),
            typed: None,
            passing: None,
        }
    }

    fn passing(&mut self) -> &mut Passing {
        self.passing.get_or_insert_default()
    }

    /// The largest `length` of a frame accepted now.
    #[must_use]
    pub fn frame_limit(&self) -> u32 {
        match self.phase {
            Phase::Strange | Phase::Welcomed | Phase::Asked(_) => limits::FRAME_BEFORE,
            Phase::Seated(_) | Phase::Closing => limits::FRAME,
        }
    }

    /// What the peer has become, once it is let in.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        match self.phase {
            Phase::Seated(role) => Some(role),
            _ => None,
        }
    }

    /// Whether the last words are said: what is left to transmit goes out, then the connection ends.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }

    /// Until when nothing more may be handled, because the peer sends more than it may. To be asked
    /// before each frame, not only before each read.
    #[must_use]
    pub fn paused_until(&self, now: Moment) -> Option<Moment> {
        self.says.as_ref()?.closed_until(now)
    }

    /// Takes in a frame.
    pub fn handle(&mut self, frame: Frame<'_>, now: Moment) {
        match Message::decode(frame) {
            Ok(message) => self.handle_message(frame.reference, message, now),
            Err(error) => self.handle_error(frame.reference, &error, now),
        }
    }

    /// Takes in a message, for connections that carry no frames.
    pub fn handle_message(&mut self, reference: Ref, message: Message, now: Moment) {
        if !message.kind().direction.reaches_server() {
            let error = DecodeError::UnknownKind(message.kind().number);
            return self.handle_error(reference, &error, now);
        }
        self.came(now);
        match (self.phase, message) {
            // An error is never answered with another.
            (Phase::Closing, _) | (_, Message::Pong(_) | Message::Error(_)) => {}
            (_, Message::Goodbye(_)) => self.phase = Phase::Closing,
            (Phase::Strange, Message::Hello(hello)) => self.welcome(reference, &hello),
            (Phase::Welcomed | Phase::Asked(_) | Phase::Seated(_), Message::Ping(_)) => {
                self.answer(reference, Pong {}.into());
            }
            (Phase::Welcomed, Message::Join(join)) => {
                self.phase = Phase::Asked(Role::Caller);
                self.passing().events.push_back(ServerEvent::Join(reference, join));
            }
            (Phase::Welcomed, Message::SignOn(sign_on)) => {
                self.phase = Phase::Asked(Role::Operator);
                self.passing().events.push_back(ServerEvent::SignOn(reference, sign_on));
            }
            (Phase::Welcomed, Message::Resume(resume)) => {
                if resume.shown.len() > limits::RESUMED_CALLS {
                    let most = limits::RESUMED_CALLS;
                    let detail = format!("at most {most} calls can be resumed at once");
                    return self.close(Code::BAD_BODY, &detail);
                }
                self.phase = Phase::Asked(match resume.side {
                    Side::Caller => Role::Caller,
                    Side::Operator => Role::Operator,
                });
                self.passing().events.push_back(ServerEvent::Resume(reference, resume));
            }
            (Phase::Seated(role), message) => self.request(role, reference, message, now),
            (Phase::Strange | Phase::Welcomed | Phase::Asked(_), _) => {
                self.close(
                    Code::OUT_OF_TURN,
                    "Hello comes first, then Join, SignOn or Resume, once",
                );
            }
        }
    }

    /// Something came, whatever it is.
    fn came(&mut self, now: Moment) {
        self.heard = now;
        if let Some(passing) = &mut self.passing {
            passing.frame_begun = None;
        }
        if let Some(says) = &mut self.says {
            says.take(now);
        }
    }

    fn request(&mut self, role: Role, reference: Ref, message: Message, now: Moment) {
        let event = match (role, message) {
            (_, Message::Say(say)) => ServerEvent::Say(reference, say),
            (_, Message::HangUp(hang_up)) => ServerEvent::HangUp(reference, hang_up),
            (_, Message::Typing(typing)) => {
                if self.typed.is_some_and(|last| now.since(last) < limits::TYPING_EVERY) {
                    return;
                }
                self.typed = Some(now);
                ServerEvent::Typing(typing)
            }
            (_, Message::EndSeen(end_seen)) => ServerEvent::EndSeen(end_seen),
            (Role::Operator, Message::Next(_)) => ServerEvent::Next(reference),
            (Role::Operator, Message::Answer(answer)) => ServerEvent::Answer(reference, answer),
            (Role::Operator, Message::Ready(_)) => ServerEvent::Ready(reference),
            (Role::Operator, Message::Pause(_)) => ServerEvent::Pause(reference),
            (Role::Operator, Message::SignOff(_)) => ServerEvent::SignOff(reference),
            (Role::Operator, Message::Ban(ban)) => ServerEvent::Ban(reference, ban),
            (Role::Operator, Message::Invite(invite)) => ServerEvent::Invite(reference, invite),
            (Role::Caller, message) if message.kind().direction == Direction::FromOperator => {
                let detail = format!("{} is for operators", message.kind().name);
                return self.refuse(reference, Code::NOT_ALLOWED, &detail);
            }
            (_, message) => {
                let detail = format!("{} has no place here", message.kind().name);
                return self.refuse(reference, Code::OUT_OF_TURN, &detail);
            }
        };
        self.passing().events.push_back(event);
    }

    fn welcome(&mut self, reference: Ref, hello: &Hello) {
        let Some(version) = version::SPOKEN.highest_common(hello.versions) else {
            let detail = format!(
                "this server speaks versions {} to {}",
                version::SPOKEN.lowest.0,
                version::SPOKEN.highest.0
            );
            return self.close(Code::NO_COMMON_VERSION, &detail);
        };
        self.phase = Phase::Welcomed;
        let welcome = Welcome {
            version,
            features: 0,
            limits: Limits {
                frame: limits::FRAME,
                text: u32::try_from(limits::TEXT).unwrap_or(u32::MAX),
            },
            keepalive_ms: u32::try_from(limits::KEEPALIVE.as_millis()).unwrap_or(u32::MAX),
        };
        self.push(reference, welcome.into());
    }

    /// Takes in a message that could not be read.
    pub fn handle_error(&mut self, reference: Ref, error: &DecodeError, now: Moment) {
        self.came(now);
        let unknown = matches!(error, DecodeError::UnknownKind(_) | DecodeError::UnknownName(_));
        match self.phase {
            Phase::Closing => {}
            Phase::Welcomed | Phase::Asked(_) | Phase::Seated(_) if unknown => {
                if reference != Ref::NONE {
                    self.refuse(reference, error.code(), &error.to_string());
                }
            }
            _ => self.close(error.code(), &error.to_string()),
        }
    }

    /// Takes in bytes that are not a frame: there is no telling where the next one would begin.
    pub fn handle_garbage(&mut self, error: FrameError) {
        let error = DecodeError::Frame(error);
        self.close(error.code(), &error.to_string());
    }

    /// A frame has begun to come, and isn't all there.
    pub fn frame_begun(&mut self, now: Moment) {
        self.passing().frame_begun.get_or_insert(now);
    }

    /// Nothing is read at the moment, for a reason of the server's own: what the peer may have sent
    /// by now can't be known, so its silence and its unfinished frame count from anew.
    pub fn not_reading(&mut self, now: Moment) {
        self.heard = now;
        if let Some(begun) = self.passing.as_mut().and_then(|passing| passing.frame_begun.as_mut())
        {
            *begun = now;
        }
    }

    /// Takes a frame for the peer. What was decided shows in it: whether the peer is let in, or parts. Frames of
    /// entries, which decide nothing of that, may come several at once, one behind the other.
    pub fn tell(&mut self, frames: Bytes) {
        let kind = frames.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_be_bytes);
        match (self.phase, kind) {
            (Phase::Closing, _) => return,
            (Phase::Asked(role), Some(Admitted::NUMBER)) => self.phase = Phase::Seated(role),
            (Phase::Asked(_), Some(Busy::NUMBER | Closed::NUMBER)) | (_, Some(Goodbye::NUMBER)) => {
                self.phase = Phase::Closing;
            }
            _ => {}
        }
        self.enqueue(frames);
    }

    /// How many bytes wait to be transmitted. Past [`limits::OUTBOX`] a peer that goes on asking is
    /// cut; whoever tells it things decides the same, or tells it later.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.passing.as_ref().map_or(0, |passing| passing.waiting)
    }

    /// The connection took some of what waits for it, or has nothing to take.
    pub fn progressed(&mut self) {
        if let Some(passing) = &mut self.passing {
            passing.stuck = None;
        }
    }

    /// The connection takes nothing at the moment, though something waits for it.
    pub fn stuck(&mut self, now: Moment) {
        self.passing().stuck.get_or_insert(now);
    }

    /// Since when the connection takes nothing of what waits for it.
    #[must_use]
    pub fn stuck_since(&self) -> Option<Moment> {
        self.passing.as_ref()?.stuck
    }

    /// Acts on whatever deadline has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        let Some((at, code, detail)) = self.deadline() else { return };
        if at > now {
            return;
        }
        if code == Code::TOO_SLOW {
            self.drop_waiting();
        }
        self.close(code, detail);
    }

    fn drop_waiting(&mut self) {
        if let Some(passing) = &mut self.passing {
            passing.transmit.clear();
            passing.waiting = 0;
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.deadline().map(|(at, _, _)| at)
    }

    fn deadline(&self) -> Option<(Moment, Code, &'static str)> {
        let life = match self.phase {
            Phase::Closing => return None,
            Phase::Seated(_) => {
                (self.heard + limits::SILENCE, Code::SILENT, "nothing was heard for 45 s")
            }
            _ => (
                self.accepted + limits::HANDSHAKE,
                Code::TOO_LATE,
                "joining, signing on or resuming takes at most 10 s",
            ),
        };
        let passing = self.passing.as_ref();
        let frame = passing.and_then(|passing| passing.frame_begun).map(|begun| {
            (begun + limits::REST_OF_FRAME, Code::TOO_LATE, "a frame takes at most 10 s")
        });
        let stuck = self.stuck_since().map(|since| {
            (since + limits::NO_PROGRESS, Code::TOO_SLOW, "nothing was taken for 10 s")
        });
        [Some(life), frame, stuck].into_iter().flatten().min_by_key(|(at, _, _)| *at)
    }

    /// The next bytes to send: whole frames.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        let passing = self.passing.as_mut()?;
        let frame = passing.transmit.pop_front()?;
        passing.waiting -= frame.len();
        Some(frame)
    }

    /// The next thing the peer asks for.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.passing.as_mut()?.events.pop_front()
    }

    /// Gives back the room of what has passed, so that a session in which nothing happens is small.
    pub fn shrink(&mut self) {
        self.passing.take_if(|passing| {
            let Passing { transmit, waiting: _, stuck, frame_begun, events } = &**passing;
            transmit.is_empty() && events.is_empty() && stuck.is_none() && frame_begun.is_none()
        });
    }

    /// Parts from the peer, which may come back on another connection. Of a stranger no ticket is known: if it
    /// has one, that isn't to suffer from when the server stops or how slow a network is.
    pub fn close(&mut self, code: Code, detail: &str) {
        let resumable = match self.phase {
            Phase::Closing => return,
            Phase::Strange | Phase::Welcomed if code.0 < 100 => Resumable::No,
            _ => Resumable::Yes,
        };
        let goodbye = Goodbye { code, detail: Detail::cut(detail), retry_after_s: None, resumable };
        self.push(Ref::NONE, goodbye.into());
        self.phase = Phase::Closing;
    }

    fn refuse(&mut self, reference: Ref, code: Code, detail: &str) {
        self.answer(reference, Error { code, detail: Detail::cut(detail) }.into());
    }

    /// Answers a peer by itself, as long as the peer takes its answers.
    fn answer(&mut self, reference: Ref, message: Message) {
        if self.waiting() > limits::OUTBOX {
            self.drop_waiting();
            return self.close(Code::TOO_SLOW, "more was asked than answers were taken");
        }
        self.push(reference, message);
    }

    fn push(&mut self, reference: Ref, message: Message) {
        // Nothing this session writes itself comes near the limit of a frame.
        if let Ok(frame) = message.to_frame(reference) {
            self.enqueue(frame);
        }
    }

    fn enqueue(&mut self, frame: Bytes) {
        let passing = self.passing();
        passing.waiting += frame.len();
        passing.transmit.push_back(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_not_blamed_for_what_the_server_does_not_read() {
        let mut session = ServerSession::new(Settings::default(), Moment(0));
        session.phase = Phase::Seated(Role::Caller);
        session.frame_begun(Moment(1_000));
        session.not_reading(Moment(60_000));
        session.handle_timeout(Moment(60_000));
        assert!(!session.is_closing());
        assert_eq!(session.poll_timeout(), Some(Moment(60_000) + limits::REST_OF_FRAME));
    }
}
