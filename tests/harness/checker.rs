//! The one checker of what Helpline promises, for everything that puts it to the proof.
//!
//! It is told what happened, in the order in which it happened, and knows the first thing that may not
//! be so: a [`Violation`], which names the [`Invariant`]. It never looks at anything by itself, so the
//! simulator and tests with the real binaries are judged by the same rules.
//!
//! # What has to be told
//!
//! | observation | who can give it | for |
//! |---|---|---|
//! | [`party`](Checker::party), [`screen_opened`](Checker::screen_opened), [`screen_closed`](Checker::screen_closed) | anybody | all others |
//! | [`typed`](Checker::typed), [`not_said`](Checker::not_said), [`kept_unsaid`](Checker::kept_unsaid) | anybody | I1, I3, I10 |
//! | [`shown`](Checker::shown) | anybody | I1, I2, I5 |
//! | [`transcript`](Checker::transcript), then [`finish`](Checker::finish) | anybody | I1, I2, I3, I5, I10, I12 |
//! | [`recorded`](Checker::recorded), at the moment of the commit | who stands at the store | I4, and the others at once |
//! | [`fact`](Checker::fact), [`turn`](Checker::turn), presence | who stands at the core | I6, I7, I8, I9 |
//! | [`told_next`](Checker::told_next) | who reads the wire | I4 |
//! | [`buffer`](Checker::buffer) | who holds the buffer | I11 |
//!
//! Who can't give an observation leaves it out: nothing is concluded from what isn't said. Texts have to
//! be unique in a run, for they are how a line is known again.
//!
//! What is kept is 16 bytes an entry and screen, so that long runs fit.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    time::Duration,
};

use helpline_proto::{
    ids::{CallId, Side},
    time::Moment,
};

pub use self::item::Item;

use self::item::{What, print};

mod core;
mod item;
mod screens;
mod store;

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// What is shown as said is recorded, and everything is recorded once.
    I1,
    /// Each screen is a prefix of the transcript, and equal to it when its part is over; who saw the end
    /// of a call did see it. Nothing is told with a gap.
    I2,
    /// What one speaker said is recorded in the order in which it was typed.
    I3,
    /// Nothing is heard, nor taken for recorded, before it is.
    I4,
    /// What is said in a call reaches that call and nobody else.
    I5,
    /// The first of those who wait and are there is answered first; one who went away a moment ago is
    /// waited for.
    I6,
    /// A place, a call and a sign-on are kept until their holder gives them up or has been away for the
    /// whole grace.
    I7,
    /// A caller has at most one operator, an operator at most one call, and one connection speaks for a party.
    I8,
    /// Nobody is admitted while as many wait as there are places, and nobody is refused while there is one.
    I9,
    /// What isn't recorded is shown as not said, and what is shown as not said isn't recorded.
    I10,
    /// Every buffer has a bound.
    I11,
    /// Once nothing goes wrong any more and everybody is back, every call ends and every screen is complete.
    I12,
    /// Beyond the twelve: nothing that has to survive is in memory only.
    Kept,
    /// Beyond the twelve: nothing panics.
    Panic,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// How.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

/// Somebody on the line: the holder of one ticket, for as long as it is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartyId(u32);

/// What one process of a party shows, from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScreenId(u32);

/// Something recorded, beside entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A caller was given a place, under this number.
    Opened {
        /// The call.
        call: CallId,
        /// The caller.
        caller: PartyId,
        /// Its place in the order of arrival.
        number: u64,
    },
    /// An operator answered a call.
    Answered {
        /// The call.
        call: CallId,
        /// The operator.
        operator: PartyId,
    },
    /// A call waits again.
    PutBack(CallId),
    /// A side is done with a call that is over.
    Done(CallId, Side),
    /// An operator's sign-on is over.
    SignedOff(PartyId),
}

/// What the host has set.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How many may wait.
    pub places: u32,
    /// How long a caller is kept whom nobody has answered.
    pub waiting_grace: Duration,
    /// The same once somebody has.
    pub call_grace: Duration,
    /// How long an operator is kept.
    pub operator_grace: Duration,
}

#[derive(Debug)]
struct Line {
    call: CallId,
    /// How it begins, to be found in a trace.
    head: [u8; 12],
    lane: u32,
    order: u32,
    recorded: bool,
    shown_as_said: bool,
    /// It was shown as not said: for sure, or as far as anybody knows.
    not_said: Option<bool>,
    /// A client that ended has it in a file.
    kept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Talking(PartyId),
    Ended(Option<PartyId>),
}

#[derive(Debug)]
struct Call {
    transcript: Vec<Item>,
    over: bool,
    /// When it ended, as far as the core goes.
    over_at: Moment,
    caller: Option<PartyId>,
    number: u64,
    stage: Stage,
    answered: bool,
    /// The caller was given up, and is owed nothing more.
    given_up: bool,
    /// Who may hear it: every operator who ever answered.
    operators: Vec<PartyId>,
    hung_up: [bool; 2],
    next: [u32; 2],
}

impl Call {
    fn new() -> Self {
        Self {
            transcript: Vec::new(),
            over: false,
            over_at: Moment(0),
            caller: None,
            number: 0,
            stage: Stage::Waiting,
            answered: false,
            given_up: false,
            operators: Vec::new(),
            hung_up: [false; 2],
            next: [1; 2],
        }
    }

    fn waits(&self) -> bool {
        self.stage == Stage::Waiting && !self.over
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Here,
    AwaySince(Moment),
}

#[derive(Debug)]
struct Party {
    side: Side,
    presence: Presence,
    /// It came or went in the present turn, so that nothing is concluded from where it is.
    unsure: bool,
    call: Option<CallId>,
    wants_off: bool,
    signed_off: bool,
    /// The calls whose end it has shown.
    seen: BTreeSet<CallId>,
}

#[derive(Debug)]
struct Screen {
    party: PartyId,
    lane: u32,
    open: bool,
    calls: BTreeMap<CallId, Vec<Item>>,
}

/// Told everything, and knows what may not be.
#[derive(Debug, Default)]
pub struct Checker {
    terms: Option<Terms>,
    /// Somebody stands at the store: an entry that isn't known isn't recorded.
    knows_records: bool,
    /// Somebody stands at the core.
    knows_facts: bool,
    lines: HashMap<u64, Line>,
    order: u32,
    calls: BTreeMap<CallId, Call>,
    parties: Vec<Party>,
    screens: Vec<Screen>,
    lanes: u32,
    /// The order of the last line recorded, by lane and call.
    last: BTreeMap<(u32, CallId), u32>,
    waiting: u32,
    /// How many waited, whenever that changed.
    waited: Vec<(Moment, u32)>,
    now: Moment,
    /// To be judged when the turn is whole.
    returned: Vec<(CallId, PartyId)>,
    done: Vec<(CallId, PartyId)>,
    violation: Option<Violation>,
}

impl Checker {
    fn screen(&mut self, id: ScreenId) -> &mut Screen {
        &mut self.screens[id.0 as usize]
    }

    fn member(&mut self, id: PartyId) -> &mut Party {
        &mut self.parties[id.0 as usize]
    }

    fn call(&mut self, id: CallId) -> &mut Call {
        self.calls.entry(id).or_insert_with(Call::new)
    }
}

fn index(side: Side) -> usize {
    match side {
        Side::Caller => 0,
        Side::Operator => 1,
    }
}

fn number(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

fn head(text: &str) -> String {
    text.chars().take(24).collect()
}
