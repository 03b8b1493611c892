//! A line on which somebody talks and others wait.

use std::{collections::VecDeque, hint::black_box};

use helpline_proto::{
    ids::{Answering, CallId, Nonce},
    text::{Name, Text},
    time::{Moment, UnixMillis},
};
use helpline_switchboard::{
    Effect, Input, Item, Notice, Now, OperatorId, Party, Request, Rules, Snapshot, Switchboard,
    TicketHash,
};

use crate::wire::LINE;

const OPERATOR: OperatorId = OperatorId(1);

/// Talks before anything is counted: from three on, places are told with a guess at the wait.
const TALKS: u64 = 3;

/// How long each of them takes, in milliseconds.
const TALK: u64 = 300_000;

/// Those who come and go: more than the switchboard remembers of those who went.
const NEWCOMERS: u64 = 2048;

/// Whoever calls.
#[derive(Clone, Copy)]
struct Caller {
    call: CallId,
    ticket: TicketHash,
}

impl Caller {
    /// One whose call and ticket look random, like real ones.
    fn numbered(number: u64) -> Self {
        let mut call = [0; 16];
        let mut ticket = [0; 32];
        for (place, seed) in call.chunks_exact_mut(8).zip(number * 8..) {
            place.copy_from_slice(&scattered(seed).to_be_bytes());
        }
        for (place, seed) in ticket.chunks_exact_mut(8).zip(number * 8 + 4..) {
            place.copy_from_slice(&scattered(seed).to_be_bytes());
        }
        Self { call: CallId(call), ticket: TicketHash(ticket) }
    }
}

/// The output function of SplitMix64.
fn scattered(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A line, who talks on it, and who waits.
pub(crate) struct Line {
    switchboard: Switchboard,
    effects: Vec<Effect>,
    now: Now,
    name: Name,
    talks: CallId,
    /// In order.
    waiting: VecDeque<Caller>,
    /// Not on the line yet.
    newcomers: Vec<Caller>,
}

impl Line {
    /// A line with one operator, who talks, and so many callers who wait. As many have come and gone as make no
    /// difference any more.
    pub(crate) fn new(waiting: usize) -> Option<Self> {
        let rules = Rules { places: u32::MAX, ..Rules::default() };
        let now = Now { moment: Moment(0), at: UnixMillis(1_800_000_000_000) };
        let first = Caller::numbered(0);
        let newcomers: Vec<Caller> = (1..=NEWCOMERS).map(Caller::numbered).collect();
        let mut line = Self {
            switchboard: Switchboard::restore(rules, &Snapshot::default(), now),
            effects: Vec::new(),
            now,
            name: Name::new("Ada").ok()?,
            talks: first.call,
            waiting: (NEWCOMERS + 1..).take(waiting).map(Caller::numbered).collect(),
            newcomers,
        };
        line.handle(Input::SignOn {
            operator: OPERATOR,
            ticket: Caller::numbered(u64::MAX >> 8).ticket,
            name: Name::new("Grace").ok()?,
            answering: Answering::ByHand,
        });
        for _ in 0..TALKS {
            line.join(first);
            line.ask(Party::Operator(OPERATOR), Request::Next);
            line.now.moment.0 += TALK;
            line.leave(first);
            line.ask(Party::Operator(OPERATOR), Request::EndSeen { call: first.call });
        }
        line.join(first);
        line.ask(Party::Operator(OPERATOR), Request::Next);
        for caller in line.waiting.clone() {
            line.join(caller);
            line.effects.clear();
        }
        for caller in line.newcomers.clone() {
            line.join(caller);
            line.leave(caller);
            line.effects.clear();
        }
        let waits = usize::try_from(line.switchboard.waiting()).ok()? == waiting;
        let talks = line.switchboard.call_of(OPERATOR) == Some(line.talks);
        (waits && talks).then_some(line)
    }

    fn handle(&mut self, input: Input) {
        self.switchboard.handle(self.now, input, &mut self.effects);
    }

    fn ask(&mut self, from: Party, request: Request) {
        self.handle(Input::Ask { from, request });
    }

    fn join(&mut self, Caller { call, ticket }: Caller) {
        let name = self.name.clone();
        self.handle(Input::Join { call, ticket, name });
    }

    fn leave(&mut self, Caller { call, .. }: Caller) {
        self.ask(Party::Caller(call), Request::HangUp { call });
        self.ask(Party::Caller(call), Request::EndSeen { call });
    }

    /// Takes what followed, as whoever records and tells it does; says how many places were told.
    fn told(&mut self) -> usize {
        let mut places = 0;
        for effect in self.effects.drain(..) {
            let effect = black_box(effect);
            places += usize::from(matches!(
                effect,
                Effect::Tell { notice: Notice::Place { wait: Some(_), .. }, .. }
            ));
        }
        places
    }

    pub(crate) fn say(mut self, repetitions: usize) -> Option<()> {
        let call = self.talks;
        let text = Text::new(LINE).ok()?;
        let mut nonce = Nonce::FIRST;
        let mut said = 0;
        self.effects.clear();
        for _ in 0..repetitions {
            let request = Request::Say { call, nonce, text: text.clone() };
            self.ask(Party::Caller(call), request);
            nonce = nonce.next()?;
            for effect in self.effects.drain(..) {
                if let Effect::Entry { entry, .. } = black_box(effect) {
                    said += usize::from(matches!(entry.item, Item::Said { .. }));
                }
            }
        }
        (said == repetitions).then_some(())
    }

    pub(crate) fn join_and_leave(mut self, repetitions: usize) -> Option<()> {
        let newcomers = std::mem::take(&mut self.newcomers);
        let (waiting, mut told) = (self.switchboard.waiting(), 0);
        for caller in newcomers.iter().cycle().take(repetitions) {
            self.join(*caller);
            told += self.told();
            self.leave(*caller);
            told += self.told();
        }
        // Nobody else moves.
        (told == repetitions && self.switchboard.waiting() == waiting).then_some(())
    }

    pub(crate) fn place(mut self, repetitions: usize) -> Option<()> {
        let mut callers: Vec<CallId> = self.waiting.iter().map(|caller| caller.call).collect();
        callers.sort_unstable();
        let mut told = 0;
        for call in callers.iter().cycle().take(repetitions) {
            self.switchboard.restate(Party::Caller(*call), &mut self.effects);
            told += self.told();
        }
        (told == repetitions).then_some(())
    }

    pub(crate) fn moved(mut self, repetitions: usize) -> Option<()> {
        let mut told = 0;
        while told < repetitions {
            told += self.one_moves().filter(|told| *told > 0)?;
        }
        Some(())
    }

    /// The first in line leaves, and comes back as the last.
    fn one_moves(&mut self) -> Option<usize> {
        let first = self.waiting.pop_front()?;
        self.leave(first);
        self.join(first);
        self.waiting.push_back(first);
        Some(self.told())
    }
}
