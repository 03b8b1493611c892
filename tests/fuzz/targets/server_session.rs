//! A server's session before any peer, and any decision about it.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use helpline_proto::{
    code::{Code, Why},
    frame::{self, Frame},
    ids::{Answering, CallId, Nonce, Resumable, Seq, Ticket},
    limits,
    message::{
        Admitted, Answer, Busy, Closed, Connected, Goodbye, HangUp, Hello, Join, KINDS, Message,
        Next, Ping, Ref, Resume, Say, Shown, SignOn, Typing,
    },
    session::{Role, ServerEvent, ServerSession, Settings},
    text::{Agent, Detail, LineName, Name, Text},
    time::Moment,
    version,
};

/// More than any answer that a session gives by itself.
const ANSWER: usize = 1024;

pub(crate) fn server_session(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(mut world) = World::begin(&mut u) else { return };
    while !u.is_empty() {
        let before = world.before();
        // What makes no message is passed over.
        let by = world.step(&mut u).unwrap_or(By::Nobody);
        world.check(&before, by);
    }
    world.drain(usize::MAX);
    assert_eq!(world.session.waiting(), 0);
}

/// Who took a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Nobody,
    /// So many frames came.
    Peer(usize),
    /// It was told so many bytes.
    Told(usize),
    /// The server closes it, or a deadline has passed.
    Server,
}

/// What there was before a step.
struct Before {
    waiting: usize,
    is_closing: bool,
    role: Option<Role>,
}

struct World {
    session: ServerSession,
    now: Moment,
    /// Joined, signed on or resumed.
    has_asked: bool,
    typed: Option<Moment>,
    /// The kinds of the frames that were told, while they can be known.
    last: Option<u16>,
    /// It was told what is no message.
    is_told_rubbish: bool,
    /// The peer said goodbye itself.
    has_parted: bool,
}

impl World {
    fn begin(u: &mut Unstructured<'_>) -> Result<Self> {
        let says_a_second =
            [None, Some(0), Some(1), Some(20)][usize::from(u.arbitrary::<u8>()? % 4)];
        let now = Moment(0);
        Ok(Self {
            session: ServerSession::new(Settings { says_a_second }, now),
            now,
            has_asked: false,
            typed: None,
            last: None,
            is_told_rubbish: false,
            has_parted: false,
        })
    }

    fn before(&self) -> Before {
        Before {
            waiting: self.session.waiting(),
            is_closing: self.session.is_closing(),
            role: self.session.role(),
        }
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<By> {
        let reference = Ref(u32::from(u.arbitrary::<u8>()? % 4));
        match u.arbitrary::<u8>()? % 20 {
            0..8 => {
                let message = likely(u)?;
                Ok(self.says(reference, message))
            }
            8 => {
                let message = u.arbitrary()?;
                Ok(self.says(reference, message))
            }
            9 => {
                let kind = KINDS[usize::from(u.arbitrary::<u8>()?) % KINDS.len()].number;
                let body = u.arbitrary()?;
                self.has_parted |= kind == Goodbye::NUMBER;
                self.session.handle(Frame { kind, reference, body }, self.now);
                Ok(By::Peer(1))
            }
            10 => Ok(self.sends(u.arbitrary()?)),
            11 => {
                self.now.0 += u64::from(u.arbitrary::<u16>()?);
                Ok(By::Nobody)
            }
            12 => {
                self.passes();
                Ok(By::Server)
            }
            13 => {
                let message = decided(u)?;
                Ok(self.told(message.to_frame(reference).unwrap()))
            }
            14 => {
                let message: Message = u.arbitrary()?;
                Ok(message.to_frame(reference).map_or(By::Nobody, |frame| self.told(frame)))
            }
            15 => {
                self.is_told_rubbish = true;
                let rubbish: &[u8] = u.arbitrary()?;
                Ok(self.told(Bytes::copy_from_slice(rubbish)))
            }
            16 => {
                match u.arbitrary::<u8>()? % 4 {
                    0 => self.session.frame_begun(self.now),
                    1 => self.session.stuck(self.now),
                    2 => self.session.progressed(),
                    _ => self.session.not_reading(self.now),
                }
                Ok(By::Nobody)
            }
            17 => {
                let code = Code(u16::from(u.arbitrary::<u8>()?));
                self.session.close(code, "the server wants it so");
                Ok(By::Server)
            }
            18 => {
                let count = usize::from(u.arbitrary::<u8>()?);
                for _ in 0..count {
                    let Some(frame) = self.session.poll_transmit() else { break };
                    self.transmitted(&frame);
                }
                Ok(By::Nobody)
            }
            // More than a peer takes that reads nothing, and goes on asking.
            _ => match u.arbitrary::<u8>()? {
                few @ 0..192 => {
                    let count = usize::from(few % 16);
                    (0..count).for_each(|_| {
                        self.says(reference, Ping {}.into());
                    });
                    Ok(By::Peer(count))
                }
                many => {
                    let text = Text::new("x".repeat(limits::TEXT)).unwrap();
                    let say = Say { call: call(u)?, nonce: Nonce::FIRST, text };
                    let frame = Message::from(say).to_frame(Ref::NONE).unwrap();
                    let count = usize::from(many % 32);
                    (0..count).for_each(|_| {
                        self.told(frame.clone());
                    });
                    Ok(By::Told(count * frame.len()))
                }
            },
        }
    }

    fn says(&mut self, reference: Ref, message: Message) -> By {
        self.has_parted |= matches!(message, Message::Goodbye(_));
        self.session.handle_message(reference, message, self.now);
        By::Peer(1)
    }

    /// Bytes, as a connection would hand them on.
    fn sends(&mut self, mut bytes: &[u8]) -> By {
        let mut count = 0;
        loop {
            match frame::split(bytes, self.session.frame_limit()) {
                Ok(Some(frame)) => {
                    count += 1;
                    self.has_parted |= frame.kind == Goodbye::NUMBER;
                    self.session.handle(frame, self.now);
                    bytes = bytes.split_at(frame.size()).1;
                }
                Ok(None) => {
                    self.session.frame_begun(self.now);
                    return By::Peer(count);
                }
                Err(error) => {
                    self.session.handle_garbage(error);
                    return By::Peer(count + 1);
                }
            }
        }
    }

    fn told(&mut self, frame: Bytes) -> By {
        let bytes = frame.len();
        self.session.tell(frame);
        By::Told(bytes)
    }

    /// Time passes until something is due.
    fn passes(&mut self) {
        if let Some(at) = self.session.poll_timeout() {
            self.session.handle_timeout(Moment(at.0 - 1));
            assert!(!self.session.is_closing(), "a deadline is kept to the millisecond");
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            assert!(self.session.is_closing(), "a deadline that passes ends the connection");
        }
        if let Some(then) = self.session.paused_until(self.now) {
            assert!(then > self.now);
            assert_eq!(self.session.paused_until(then), None);
            self.now = then;
        }
    }

    fn check(&mut self, before: &Before, by: By) {
        let grown = self.session.waiting().saturating_sub(before.waiting);
        match by {
            By::Nobody => assert_eq!(grown, 0),
            By::Peer(count) => {
                assert!(grown <= count * ANSWER);
                // Whoever doesn't take answers is given no more of them.
                let is_full = before.waiting > limits::OUTBOX;
                let most = if is_full { before.waiting } else { limits::OUTBOX + ANSWER };
                // A welcome and a goodbye come once.
                let once = self.session.is_closing() || before.role.is_none();
                let most = most + if once { ANSWER } else { 0 };
                assert!(self.session.waiting() <= most);
            }
            By::Told(bytes) => assert!(grown <= bytes),
            By::Server => assert!(grown <= ANSWER),
        }
        let mut events = 0;
        while let Some(event) = self.session.poll_event() {
            events += 1;
            self.wants(&event, before.role);
        }
        let By::Peer(most) = by else { return assert_eq!(events, 0, "nobody asked") };
        assert!(events <= most);
        if before.is_closing {
            assert!(
                self.session.is_closing() && events == 0 && grown == 0,
                "behind the last words"
            );
        }
        if self.session.is_closing() {
            assert_eq!(self.session.poll_timeout(), None);
        }
    }

    /// Everything has its place in the conversation.
    fn wants(&mut self, event: &ServerEvent, role: Option<Role>) {
        match event {
            ServerEvent::Join(..) | ServerEvent::SignOn(..) | ServerEvent::Resume(..) => {
                assert!(!self.has_asked, "let in twice");
                self.has_asked = true;
                if let ServerEvent::Resume(_, resume) = event {
                    assert!(resume.shown.len() <= limits::RESUMED_CALLS);
                }
            }
            ServerEvent::Typing(_) => {
                assert!(role.is_some());
                let last = self.typed.replace(self.now);
                assert!(last.is_none_or(|last| self.now.since(last) >= limits::TYPING_EVERY));
            }
            ServerEvent::Say(..) | ServerEvent::HangUp(..) | ServerEvent::EndSeen(_) => {
                assert!(role.is_some(), "a stranger speaks: {event:?}");
            }
            ServerEvent::Next(_)
            | ServerEvent::Answer(..)
            | ServerEvent::Ready(_)
            | ServerEvent::Pause(_)
            | ServerEvent::SignOff(_)
            | ServerEvent::Ban(..)
            | ServerEvent::Invite(..) => {
                assert_eq!(role, Some(Role::Operator), "{event:?}");
            }
        }
    }

    fn transmitted(&mut self, bytes: &Bytes) {
        if self.is_told_rubbish {
            return;
        }
        let frame = frame::split(bytes, limits::FRAME).unwrap().unwrap();
        assert_eq!(frame.size(), bytes.len());
        let message = Message::decode(frame).unwrap();
        assert_ne!(self.last, Some(Goodbye::NUMBER), "{message:?} behind a goodbye");
        self.last = Some(frame.kind);
    }

    fn drain(&mut self, most: usize) {
        for _ in 0..most {
            let Some(frame) = self.session.poll_transmit() else { break };
            self.transmitted(&frame);
        }
        let parts = [Goodbye::NUMBER, Busy::NUMBER, Closed::NUMBER];
        if self.session.is_closing() && !self.is_told_rubbish && !self.has_parted {
            let last = self.last.unwrap_or_default();
            assert!(parts.contains(&last), "the last words are those of message {last}");
        }
    }
}

fn call(u: &mut Unstructured<'_>) -> Result<CallId> {
    Ok(CallId([u.arbitrary::<u8>()? % 4; 16]))
}

/// What a client says.
fn likely(u: &mut Unstructured<'_>) -> Result<Message> {
    let (ticket, name) = (Ticket([1; 32]), Name::new("Wei").unwrap());
    Ok(match u.arbitrary::<u8>()? % 12 {
        0 | 1 => {
            Hello { versions: version::SPOKEN, features: 0, agent: Agent::new("a").unwrap() }.into()
        }
        2 => Join { ticket, line: None, name, invite: None }.into(),
        3 => SignOn { ticket, name, answering: Answering::ByHand, token: None }.into(),
        4 => {
            let side = u.arbitrary()?;
            let calls = u.arbitrary::<u8>()? % 40;
            let shown = (0..calls).map(|n| Shown { call: CallId([n; 16]), seq: Seq(1) }).collect();
            Resume { ticket, side, shown }.into()
        }
        5 | 6 => Say {
            call: call(u)?,
            nonce: Nonce(u32::from(u.arbitrary::<u8>()?)),
            text: Text::new("x").unwrap(),
        }
        .into(),
        7 => HangUp { call: call(u)? }.into(),
        8 => Typing { call: call(u)? }.into(),
        9 => Next {}.into(),
        10 => Answer { call: call(u)? }.into(),
        _ => Ping {}.into(),
    })
}

/// What is decided about a peer.
fn decided(u: &mut Unstructured<'_>) -> Result<Message> {
    Ok(match u.arbitrary::<u8>()? % 8 {
        0..5 => Admitted {
            line: LineName::new("main").unwrap(),
            name: Name::new("Wei").unwrap(),
            greeting: Some(Text::new("hello ".repeat(20)).unwrap()),
        }
        .into(),
        5 => Busy { why: Why::FULL, retry_after_s: 1, wait_s: None }.into(),
        6 => Goodbye {
            code: Code::SUPERSEDED,
            detail: Detail::cut(""),
            retry_after_s: None,
            resumable: Resumable::No,
        }
        .into(),
        _ => {
            Connected { call: call(u)?, peer: Name::new("Ada").unwrap(), next_nonce: Nonce::FIRST }
                .into()
        }
    })
}
