//! A client's session before any server, and whoever uses it.

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use helpline_proto::{
    code::{Code, Why},
    frame::{self, Frame},
    ids::{Answering, By, CallId, Nonce, Resumable, Seq, Side, Ticket},
    limits,
    message::{
        Admitted, Connected, Ended, Error, Goodbye, Hello, Join, Joined, KINDS, Limits, Listed,
        Message, Next, Ping, Place, PutBack, Ref, Resumed, Said, SignOn, Welcome,
    },
    session::{ClientEvent, ClientSession, Lost, Opening},
    text::{Agent, Detail, LineName, Name, Text},
    time::{Moment, UnixMillis},
    version,
};

/// Frames that may wait beside what the user asked for: answers to pings, the ends that are listed, a hello.
const OWN: usize = 64 + limits::RESUMED_CALLS / 2 + 2;

pub(crate) fn client_session(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(mut world) = World::begin(&mut u) else { return };
    while !u.is_empty() {
        // What makes no message is passed over.
        let _passed_over = world.step(&mut u);
        world.check();
    }
    world.drain();
    world.session.stop(Lost::Broken);
    world.check();
    assert!(world.is_over);
}

struct World {
    session: ClientSession,
    now: Moment,
    /// The lines the user wants said, by reference, until it is told what became of them.
    lines: BTreeMap<u32, Text>,
    /// Lines of an earlier process, which have no reference.
    restored: usize,
    references: u32,
    /// The last entry told of each call.
    entries: BTreeMap<CallId, Seq>,
    /// Frames that may be transmitted, beside [`OWN`] and the unsaid lines.
    asked: usize,
    hung_up: usize,
    /// What is known on this connection.
    is_greeted: bool,
    is_welcomed: bool,
    is_admitted: bool,
    is_offline: bool,
    is_over: bool,
}

impl World {
    fn begin(u: &mut Unstructured<'_>) -> Result<Self> {
        let (ticket, name) = (Ticket([1; 32]), Name::new("Wei").unwrap());
        let opening = match u.arbitrary::<u8>()? % 4 {
            0 | 1 => Opening::Join(Join { ticket, line: None, name, invite: None }),
            2 => Opening::SignOn(SignOn {
                ticket,
                name,
                answering: Answering::ByItself,
                token: None,
            }),
            _ => Opening::Resume(u.arbitrary()?, ticket),
        };
        let restored = match opening {
            Opening::Resume(..) => usize::from(u.arbitrary::<u8>()? % 4),
            _ => 0,
        };
        let now = Moment(0);
        let mut session = ClientSession::new(opening, Agent::new("a").unwrap(), now);
        for nonce in (1..).take(restored) {
            session.restore(CallId([1; 16]), Nonce(nonce), Text::new("from before").unwrap());
        }
        Ok(Self {
            session,
            now,
            lines: BTreeMap::new(),
            restored,
            references: 0,
            entries: BTreeMap::new(),
            asked: 0,
            hung_up: 0,
            is_greeted: false,
            is_welcomed: false,
            is_admitted: false,
            is_offline: false,
            is_over: false,
        })
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let reference = Ref(u32::from(u.arbitrary::<u8>()? % 8));
        match u.arbitrary::<u8>()? % 24 {
            0..8 => {
                let message = self.likely(u)?;
                self.session.handle_message(reference, message, self.now);
            }
            8 => self.session.handle_message(reference, u.arbitrary()?, self.now),
            9 => {
                let kind = KINDS[usize::from(u.arbitrary::<u8>()?) % KINDS.len()].number;
                let body = u.arbitrary()?;
                self.session.handle(Frame { kind, reference, body }, self.now);
            }
            10 => self.comes(u.arbitrary()?),
            11 => self.now.0 += u64::from(u.arbitrary::<u16>()?),
            12 => self.passes(),
            13 => self.session.handle_end(),
            14 | 15 => self.connect(),
            16 => self.drain(),
            17 | 18 => {
                let call = call(u)?;
                let count = match u.arbitrary::<u8>()? {
                    many @ 250.. => u32::from(many),
                    _ => 1,
                };
                (0..count).for_each(|_| self.say(call));
            }
            19 => {
                self.hung_up += usize::from(self.session.hang_up(call(u)?, reference).is_ok());
            }
            20 => {
                let call = call(u)?;
                (0..100).for_each(|_| self.session.typing(call));
            }
            21 => {
                self.session.request(Next {}.into(), reference);
                self.asked += 1;
            }
            22 => {
                let call = call(u)?;
                let seq = self.entries.get(&call).copied().unwrap_or_default();
                self.session.shown(call, seq);
                self.asked += 1;
            }
            _ => match u.arbitrary::<u8>()? % 16 {
                0 => self.session.stop(Lost::Silent),
                1..8 => self.session.not_reading(self.now),
                // Whatever is asked must not be more than can be answered.
                _ => (0..1000).for_each(|_| {
                    self.session.handle_message(reference, Ping {}.into(), self.now);
                }),
            },
        }
        Ok(())
    }

    /// Bytes, as a connection would hand them on.
    fn comes(&mut self, mut bytes: &[u8]) {
        loop {
            match frame::split(bytes, limits::FRAME) {
                Ok(Some(frame)) => {
                    self.session.handle(frame, self.now);
                    bytes = bytes.split_at(frame.size()).1;
                }
                Ok(None) => return,
                Err(error) => return self.session.handle_garbage(error),
            }
        }
    }

    /// Time passes until something is due, and whatever is due happens.
    fn passes(&mut self) {
        let Some(at) = self.session.poll_timeout() else { return };
        self.now = self.now.max(at);
        let mut rounds = 0;
        while self.session.poll_timeout().is_some_and(|at| at <= self.now) {
            self.session.handle_timeout(self.now);
            // A ping, and the end.
            rounds += 1;
            assert!(rounds <= 2, "a deadline that has passed passes again");
        }
        self.asked += rounds;
    }

    fn connect(&mut self) {
        if !self.is_offline {
            return;
        }
        self.session.connected(self.now);
        self.is_offline = false;
        (self.is_greeted, self.is_welcomed, self.is_admitted) = (false, false, false);
    }

    fn say(&mut self, call: CallId) {
        self.references += 1;
        let text = Text::new(format!("line {}", self.references)).unwrap();
        if self.session.say(call, text.clone(), Ref(self.references)).is_ok() {
            assert!(!self.is_over);
            self.lines.insert(self.references, text);
        }
    }

    fn check(&mut self) {
        while let Some(event) = self.session.poll_event() {
            assert!(!self.is_over, "behind the end: {event:?}");
            self.learns(event);
        }
        // No line is lost or doubled: whatever isn't answered is still to be said.
        let unsaid = self.session.unsaid_lines().count();
        assert!((self.lines.len()..=self.lines.len() + self.restored).contains(&unsaid));
        if self.is_offline || self.is_over {
            assert_eq!(self.session.poll_timeout(), None);
            assert_eq!(self.session.poll_transmit(self.now), None, "there is no connection");
        }
    }

    fn learns(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Welcomed(_) => {
                assert!(!self.is_welcomed && !self.is_offline);
                self.is_welcomed = true;
            }
            ClientEvent::Told(reference, message) => {
                match &message {
                    Message::Admitted(_) => self.is_admitted = true,
                    Message::Said(said) => {
                        self.entry(said.call, said.seq);
                        if reference != Ref::NONE {
                            let line = self.lines.remove(&reference.0);
                            assert_eq!(line.as_ref(), Some(&said.text));
                        }
                    }
                    Message::Joined(joined) => self.entry(joined.call, joined.seq),
                    Message::Left(left) => self.entry(left.call, left.seq),
                    Message::Ended(ended) => self.entry(ended.call, ended.seq),
                    _ => {}
                }
                assert!(message.kind().direction.reaches_client());
            }
            ClientEvent::NotSaid { text, reference, .. } => {
                if reference == Ref::NONE {
                    assert!(self.restored > 0);
                } else {
                    assert_eq!(self.lines.remove(&reference.0), Some(text), "answered twice");
                }
            }
            ClientEvent::Offline(_) => {
                assert!(!self.is_offline);
                self.is_offline = true;
            }
            ClientEvent::Over(_) => self.is_over = true,
        }
    }

    /// Entries come without a gap, and once; a call that was gone may come again from its first.
    fn entry(&mut self, call: CallId, seq: Seq) {
        let last = self.entries.insert(call, seq).unwrap_or_default();
        assert!(last.next() == Some(seq) || seq == Seq(1), "{seq:?} behind {last:?}");
    }

    fn drain(&mut self) {
        let most = OWN + self.asked + self.hung_up + self.session.unsaid_lines().count();
        let mut count = 0;
        while let Some(bytes) = self.session.poll_transmit(self.now) {
            count += 1;
            self.transmitted(&bytes);
        }
        assert!(count <= most, "{count} frames waited, {most} are accounted for");
        self.asked = 0;
    }

    fn transmitted(&mut self, bytes: &Bytes) {
        let limit = if self.is_admitted { limits::FRAME } else { limits::FRAME_BEFORE };
        let frame = frame::split(bytes, limit).unwrap().unwrap();
        assert_eq!(frame.size(), bytes.len());
        let message = Message::decode(frame).unwrap();
        assert!(message.kind().direction.reaches_server());
        let is_hello = matches!(message, Message::Hello(_));
        assert_eq!(is_hello, !self.is_greeted, "{message:?}");
        self.is_greeted = true;
        assert!(is_hello || self.is_welcomed, "{message:?} before the welcome");
        let is_opening =
            matches!(message, Message::Join(_) | Message::SignOn(_) | Message::Resume(_));
        let is_early =
            is_hello || is_opening || matches!(message, Message::Ping(_) | Message::Pong(_));
        assert!(is_early || self.is_admitted, "{message:?} before it is let in");
    }

    /// What a server says, mostly.
    fn likely(&mut self, u: &mut Unstructured<'_>) -> Result<Message> {
        let (call, at) = (call(u)?, UnixMillis(0));
        let next_nonce = Nonce(u32::from(u.arbitrary::<u8>()? % 8));
        let seq = match u.arbitrary::<u8>()? {
            any @ 240.. => Seq(u32::from(any) % 8),
            _ => self.entries.get(&call).copied().unwrap_or_default().next().unwrap_or_default(),
        };
        let from = if next_nonce.0.is_multiple_of(2) { Side::Caller } else { Side::Operator };
        let name = Name::new("Ada").unwrap();
        Ok(match u.arbitrary::<u8>()? % 20 {
            0 | 1 => Welcome {
                version: version::CURRENT,
                features: 0,
                limits: Limits { frame: limits::FRAME, text: 16 },
                keepalive_ms: u32::from(u.arbitrary::<u16>()?),
            }
            .into(),
            2 | 3 => Admitted { line: LineName::new("main").unwrap(), name, greeting: None }.into(),
            4 | 5 => Connected { call, peer: name, next_nonce }.into(),
            6 => Place { call, position: 1, waiting: 1, wait_s: None, next_nonce }.into(),
            7..10 => {
                let lines = self.session.unsaid_lines().find(|(of, ..)| *of == call);
                let (nonce, text) = match (u.arbitrary::<u8>()?, lines) {
                    (0..200, Some((_, nonce, text))) => (nonce, text.clone()),
                    _ => (next_nonce, Text::new("x").unwrap()),
                };
                Said { call, seq, from, name, at, text, nonce }.into()
            }
            10 => Joined { call, seq, at, from, name }.into(),
            11 => Ended { call, seq, at, by: By::Server, why: Why::BYE }.into(),
            12 => Error { code: Code(u.arbitrary::<u8>()?.into()), detail: Detail::cut("") }.into(),
            13 | 14 => Goodbye {
                code: if from == Side::Caller { Code::TOO_SLOW } else { Code::SUPERSEDED },
                detail: Detail::cut(""),
                retry_after_s: None,
                resumable: if next_nonce.0 < 6 { Resumable::Yes } else { Resumable::No },
            }
            .into(),
            15 | 16 => {
                let listed = |n: u8| Listed {
                    call: CallId([n % 5; 16]),
                    next_nonce,
                    last: Seq(u32::from(n % 16) * 4),
                };
                let many = u.arbitrary::<u8>()?;
                let count = if many > 250 { 2000 } else { usize::from(many % 6) };
                let first = u.arbitrary::<u8>()?;
                let calls = (first..=255).cycle().take(count).map(listed).collect();
                Resumed { calls }.into()
            }
            17 => PutBack { call }.into(),
            18 => Hello { versions: version::SPOKEN, features: 0, agent: Agent::new("a").unwrap() }
                .into(),
            _ => Ping {}.into(),
        })
    }
}

fn call(u: &mut Unstructured<'_>) -> Result<CallId> {
    Ok(CallId([u.arbitrary::<u8>()? % 4; 16]))
}
