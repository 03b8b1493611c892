//! Callers and operators who say as much as they may.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use helpline_proto::{
    ids::{Answering, CallId, Nonce, Side},
    message::{EndSeen, HangUp, Message, Ref, Say},
    text::Text,
};
use helpline_tests::{Got, PATIENCE, Peer, wait_until};

use crate::{dice::Dice, ledger};

const CALLERS: usize = 3;
const OPERATORS: usize = 2;

/// Says of one side under way at once, at most; some wait for each answer.
const UNANSWERED: usize = 4;

/// How long nothing is told to anybody before all counts as said.
const QUIET: Duration = Duration::from_millis(300);

/// What one voice heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// In the order it came.
    pub(crate) messages: Vec<Message>,
    /// The calls it wanted ended.
    pub(crate) hung_up: HashSet<CallId>,
}

/// A few callers and operators, talking.
#[derive(Debug)]
pub(crate) struct Load {
    voices: Vec<JoinHandle<Heard>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    callers_done: AtomicUsize,
    heard: AtomicUsize,
}

impl Load {
    /// Each caller says so many lines, in calls of a few dozen, and stays in the last one.
    pub(crate) fn start(address: SocketAddr, dice: &mut Dice, lines: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let sides = [(Side::Operator, OPERATORS), (Side::Caller, CALLERS)];
        let voices = sides.into_iter().flat_map(|(side, count)| (0..count).map(move |n| (side, n)));
        let voices = voices.map(|(side, n)| {
            let shared = Arc::clone(&shared);
            let (dice, heard) = (dice.split(), Heard::default());
            let mut voice = Voice { address, side, n, dice, left: lines, heard, shared };
            thread::spawn(move || {
                while let Some(peer) = voice.connect()
                    && voice.talk(peer)
                {}
                voice.done();
                voice.heard
            })
        });
        Self { voices: voices.collect(), shared }
    }

    /// Waits until every caller has said its lines, and everything is answered.
    pub(crate) fn wait_until_said(&self) {
        let mut last = (0, Instant::now());
        wait_until("everything is said", || {
            let heard = self.shared.heard.load(SeqCst);
            if heard != last.0 || self.shared.callers_done.load(SeqCst) < CALLERS {
                last = (heard, Instant::now());
            }
            (last.1.elapsed() >= QUIET).then_some(())
        });
    }

    /// Waits until every connection has ended, and says what was heard.
    pub(crate) fn join(self) -> Vec<Heard> {
        self.voices.into_iter().map(|voice| voice.join().unwrap()).collect()
    }
}

struct Voice {
    address: SocketAddr,
    side: Side,
    n: usize,
    dice: Dice,
    /// Lines a caller has still to say, in all its calls.
    left: usize,
    heard: Heard,
    shared: Arc<Shared>,
}

/// The call a voice is in.
struct Talk {
    call: CallId,
    nonce: Nonce,
    to_say: usize,
    unanswered: usize,
    at_once: usize,
    hung_up: bool,
}

impl Voice {
    /// A connection that asks to be let in; none when the server is gone, or all is said.
    fn connect(&mut self) -> Option<Peer> {
        if self.left == 0 {
            return None;
        }
        let mut peer = Peer::try_connect(self.address).ok()?;
        let ask = match self.side {
            Side::Caller => Peer::join(&format!("caller {}", self.n)),
            Side::Operator => Peer::sign_on(&format!("operator {}", self.n), Answering::ByItself),
        };
        let asked = [Peer::frame(&Peer::hello()), Peer::frame(&ask)].concat();
        peer.try_send_raw(&asked).ok()?;
        Some(peer)
    }

    /// Talks until the connection is over. True when it may call again.
    fn talk(&mut self, mut peer: Peer) -> bool {
        let mut talk = None;
        let mut out = BytesMut::new();
        loop {
            match peer.next_within(PATIENCE) {
                Got::Message(_, message) => {
                    self.hear(&message, &mut talk, &mut out);
                    self.heard.messages.push(message);
                    self.shared.heard.fetch_add(1, SeqCst);
                }
                Got::End => return self.side == Side::Caller,
                Got::Broken(_) => return false,
                Got::Nothing => {}
            }
            if let Some(talk) = &mut talk {
                self.say(talk, &mut out);
            }
            if !out.is_empty() {
                // Who can't be told anything any more may still have something to tell.
                let _ = peer.try_send_raw(&out.split());
            }
        }
    }

    fn hear(&mut self, message: &Message, talk: &mut Option<Talk>, out: &mut BytesMut) {
        match message {
            Message::Place(place) => self.opened(place.call, place.next_nonce, talk),
            Message::Connected(connected) => {
                self.opened(connected.call, connected.next_nonce, talk);
            }
            Message::Said(said) => {
                let Some(talk) = talk else { return };
                if said.from == self.side {
                    talk.unanswered -= 1;
                } else if self.side == Side::Operator && self.dice.chance(60) {
                    talk.to_say += 1;
                }
                if self.side == Side::Operator && self.dice.chance(1) {
                    self.hang_up(talk, out);
                }
            }
            Message::Ended(ended) => {
                *talk = None;
                let seen = EndSeen { call: ended.call };
                Message::from(seen).encode(Ref::NONE, out).unwrap();
            }
            _ => {}
        }
    }

    fn opened(&mut self, call: CallId, nonce: Nonce, talk: &mut Option<Talk>) {
        if talk.as_ref().is_some_and(|talk| talk.call == call) {
            return;
        }
        let to_say = match self.side {
            Side::Caller => (5 + self.dice.below(50)).min(self.left),
            Side::Operator => 0,
        };
        let at_once = 1 + self.dice.below(UNANSWERED);
        *talk = Some(Talk { call, nonce, to_say, unanswered: 0, at_once, hung_up: false });
    }

    fn say(&mut self, talk: &mut Talk, out: &mut BytesMut) {
        while talk.to_say > 0 && talk.unanswered < talk.at_once && !talk.hung_up {
            let filler =
                if self.dice.chance(3) { self.dice.below(6000) } else { self.dice.below(100) };
            let text = Text::new(ledger::line(self.side, talk.nonce, filler)).unwrap();
            let say = Say { call: talk.call, nonce: talk.nonce, text };
            Message::from(say).encode(Ref::NONE, out).unwrap();
            talk.nonce = talk.nonce.next().unwrap();
            talk.unanswered += 1;
            talk.to_say -= 1;
            if self.side == Side::Caller {
                self.left -= 1;
            }
        }
        if self.side == Side::Caller && talk.to_say == 0 && talk.unanswered == 0 {
            if self.left == 0 {
                self.done();
            } else {
                self.hang_up(talk, out);
            }
        }
    }

    fn hang_up(&mut self, talk: &mut Talk, out: &mut BytesMut) {
        if !talk.hung_up {
            talk.hung_up = true;
            self.heard.hung_up.insert(talk.call);
            Message::from(HangUp { call: talk.call }).encode(Ref::NONE, out).unwrap();
        }
    }

    /// Counts this caller, once, among those who have said everything.
    fn done(&mut self) {
        if self.side == Side::Caller && self.n != usize::MAX {
            self.n = usize::MAX;
            self.shared.callers_done.fetch_add(1, SeqCst);
        }
    }
}
