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
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use helpline_proto::{
    code::Why,
    ids::{By, CallId, Nonce, Seq, Side},
    limits,
    message::Message,
    time::Moment,
};

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

/// What an entry says, without its number: enough to tell it from any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    what: What,
    print: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Said(Side, Nonce),
    Joined(Side),
    Left(Side),
    Ended(By, Why),
}

impl Item {
    /// The call, number and content of an entry; none for any other message.
    #[must_use]
    pub fn of(message: &Message) -> Option<(CallId, Seq, Self)> {
        let rest = |at: &_, name: Option<&_>| {
            let mut hasher = DefaultHasher::new();
            (at, name.map(ToString::to_string)).hash(&mut hasher);
            hasher.finish()
        };
        Some(match message {
            Message::Said(it) => {
                let print = print(it.text.as_str());
                (it.call, it.seq, Self { what: What::Said(it.from, it.nonce), print })
            }
            Message::Joined(it) => {
                let print = rest(&it.at, Some(&it.name));
                (it.call, it.seq, Self { what: What::Joined(it.from), print })
            }
            Message::Left(it) => {
                let print = rest(&it.at, Some(&it.name));
                (it.call, it.seq, Self { what: What::Left(it.from), print })
            }
            Message::Ended(it) => {
                let print = rest(&it.at, None);
                (it.call, it.seq, Self { what: What::Ended(it.by, it.why), print })
            }
            _ => return None,
        })
    }
}

fn print(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

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

/// What anybody can see.
impl Checker {
    /// Knows nothing yet, and that what it isn't told may have happened.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The first promise that was broken.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Somebody with a ticket of their own comes to the line.
    pub fn party(&mut self, side: Side) -> PartyId {
        let id = PartyId(number(self.parties.len()));
        self.parties.push(Party {
            side,
            presence: Presence::AwaySince(self.now),
            unsure: false,
            call: None,
            wants_off: false,
            signed_off: false,
            seen: BTreeSet::new(),
        });
        id
    }

    /// A process of a party starts. One that goes on where `after` was has its unsaid lines, and says them
    /// before its own.
    pub fn screen_opened(&mut self, party: PartyId, after: Option<ScreenId>) -> ScreenId {
        let id = ScreenId(number(self.screens.len()));
        let lane = match after {
            Some(after) => self.screen(after).lane,
            None => {
                self.lanes += 1;
                self.lanes
            }
        };
        self.screens.push(Screen { party, lane, open: true, calls: BTreeMap::new() });
        id
    }

    /// A process ended: its screen owes nothing more, and is still a prefix.
    pub fn screen_closed(&mut self, screen: ScreenId) {
        self.screen(screen).open = false;
    }

    /// A line was typed, and taken.
    pub fn typed(&mut self, screen: ScreenId, call: CallId, text: &str) {
        let lane = self.screen(screen).lane;
        self.order += 1;
        let mut head = [0; 12];
        head.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
        let line = Line {
            call,
            head,
            lane,
            order: self.order,
            recorded: false,
            shown_as_said: false,
            not_said: None,
            kept: false,
        };
        let known = self.lines.insert(print(text), line);
        assert!(known.is_none(), "every text is typed once");
    }

    /// A line was shown as not said: for sure, or as one of which nobody knows.
    pub fn not_said(&mut self, text: &str, for_sure: bool) {
        let Some(line) = self.lines.get_mut(&print(text)) else {
            return self.violated(Invariant::I5, format!("nobody typed {}", head(text)));
        };
        line.not_said = Some(for_sure || line.not_said == Some(true));
        if for_sure && line.recorded {
            let detail = format!("shown as not said, and recorded: {}", head(text));
            self.violated(Invariant::I10, detail);
        }
    }

    /// A client that ended says it keeps this line unsaid.
    pub fn kept_unsaid(&mut self, text: &str) {
        if let Some(line) = self.lines.get_mut(&print(text)) {
            line.kept = true;
        }
    }

    /// Somebody asks for the call to end.
    pub fn hung_up(&mut self, call: CallId, side: Side) {
        self.call(call).hung_up[index(side)] = true;
    }

    /// An operator asks to leave.
    pub fn wants_off(&mut self, party: PartyId) {
        self.member(party).wants_off = true;
    }

    /// A screen shows an entry.
    pub fn shown(&mut self, screen: ScreenId, message: &Message) {
        let Some((id, seq, item)) = Item::of(message) else { return };
        let at = usize::try_from(seq.0).unwrap_or(usize::MAX);
        let party = self.screen(screen).party;
        let side = self.member(party).side;
        let shown = self.screen(screen).calls.entry(id).or_default();
        let before = shown.len();
        shown.push(item);
        if before + 1 != at {
            let detail = format!("{screen:?} shows entry {at} of {id} behind {before}");
            return self.violated(Invariant::I2, detail);
        }
        let knows = self.knows_records;
        let call = self.call(id);
        if call.caller.is_none() && side == Side::Caller {
            call.caller = Some(party);
        }
        let belongs = match side {
            Side::Caller => call.caller == Some(party),
            Side::Operator => !knows || call.operators.contains(&party),
        };
        let recorded = call.transcript.get(at - 1).copied();
        if !belongs {
            let detail = format!("{screen:?} shows entry {at} of {id}, which isn't its call");
            return self.violated(Invariant::I5, detail);
        }
        match recorded {
            Some(recorded) if recorded != item => {
                let detail = format!("entry {at} of {id} is {recorded:?}, shown is {item:?}");
                return self.violated(Invariant::I2, detail);
            }
            None if knows => {
                let detail = format!("entry {at} of {id} is shown, and not recorded: {item:?}");
                return self.violated(Invariant::I4, detail);
            }
            _ => {}
        }
        match item.what {
            What::Said(from, _) => self.said(id, item, from == side),
            What::Ended(..) => {
                self.member(party).seen.insert(id);
            }
            _ => {}
        }
    }

    fn said(&mut self, call: CallId, item: Item, own: bool) {
        match self.lines.get_mut(&item.print) {
            Some(line) if line.call == call => line.shown_as_said |= own,
            _ => self.violated(Invariant::I5, format!("nobody typed that in {call}: {item:?}")),
        }
    }

    /// A screen shows that a call isn't its party's any more, as it was put back. Should the party answer it
    /// again, it is shown from the beginning.
    pub fn put_back(&mut self, screen: ScreenId, call: CallId) {
        let shown = self.screen(screen).calls.remove(&call);
        let known = self.calls.get(&call).map(|call| &call.transcript);
        if let (Some(shown), Some(known)) = (shown, known)
            && self.knows_records
            && !known.starts_with(&shown)
        {
            self.violated(Invariant::I2, format!("{screen:?} isn't a prefix of {call}"));
        }
    }

    /// The server doesn't list a call, that a screen has open, among those of a party that is back.
    pub fn unlisted(&mut self, screen: ScreenId, id: CallId) {
        let party = self.screen(screen).party;
        let member = self.member(party);
        let let_go = member.signed_off || member.seen.contains(&id);
        let call = self.call(id);
        let belongs = call.stage == Stage::Ended(Some(party))
            || (call.over && call.caller == Some(party) && !call.given_up);
        if belongs && !let_go && self.knows_facts {
            let detail = format!("{screen:?} isn't told the end of {id}");
            return self.violated(Invariant::I2, detail);
        }
        self.put_back(screen, id);
    }

    /// The server says that a screen's ticket stands for nobody. True if its party has lost nothing by that.
    pub fn turned_away(&mut self, screen: ScreenId) {
        let id = self.screen(screen).party;
        let party = self.member(id);
        let (side, gone) = (party.side, party.signed_off);
        let lost = match side {
            Side::Operator => !gone,
            Side::Caller => {
                let seen = self.member(id).seen.clone();
                let mut own = self.calls.iter().filter(|(_, call)| call.caller == Some(id));
                own.any(|(call, it)| !it.given_up && !seen.contains(call))
            }
        };
        if lost && self.knows_facts {
            let detail = format!("{screen:?} is told that its ticket stands for nobody");
            self.violated(Invariant::I7, detail);
        }
    }

    /// The server told something with a gap, and nothing on the way left anything out.
    pub fn gap(&mut self, screen: ScreenId, behind: Seq) {
        let detail = format!("{screen:?} is told something with a gap behind {}", behind.0);
        self.violated(Invariant::I2, detail);
    }

    /// Anything else that may not be.
    pub fn violated(&mut self, invariant: Invariant, detail: String) {
        self.violation.get_or_insert(Violation { invariant, detail });
    }
}

/// What those know who stand at the store.
impl Checker {
    /// From now on every entry is told at the moment of its commit.
    pub fn knows_records(&mut self) {
        self.knows_records = true;
    }

    /// An entry is recorded now.
    pub fn recorded(&mut self, message: &Message) {
        let Some((id, seq, item)) = Item::of(message) else { return };
        let call = self.calls.entry(id).or_insert_with(Call::new);
        call.transcript.push(item);
        if call.over {
            let detail = format!("{id} goes on behind its end: {item:?}");
            return self.violated(Invariant::I1, detail);
        }
        if u32::try_from(call.transcript.len()) != Ok(seq.0) {
            let detail = format!("entry {} of {id} is number {}", call.transcript.len(), seq.0);
            return self.violated(Invariant::I2, detail);
        }
        match item.what {
            What::Said(side, nonce) => {
                let next = &mut call.next[index(side)];
                let expected = std::mem::replace(next, nonce.0 + 1);
                self.line_recorded(id, item, (nonce.0, expected));
            }
            What::Ended(by, why) => self.ended(id, by, why),
            What::Joined(_) | What::Left(_) => {}
        }
    }

    fn line_recorded(&mut self, id: CallId, item: Item, (nonce, expected): (u32, u32)) {
        let Some(line) = self.lines.get_mut(&item.print) else {
            return self.violated(Invariant::I5, format!("nobody typed that in {id}: {item:?}"));
        };
        let (again, not_said) = (line.recorded, line.not_said);
        line.recorded = true;
        let (lane, call, order) = (line.lane, line.call, line.order);
        if call != id {
            let detail = format!("typed in {call}, recorded in {id}: {item:?}");
            return self.violated(Invariant::I5, detail);
        }
        if again {
            return self.violated(Invariant::I1, format!("recorded twice in {id}: {item:?}"));
        }
        if not_said == Some(true) {
            let detail = format!("recorded in {id}, and shown as not said before: {item:?}");
            return self.violated(Invariant::I10, detail);
        }
        let last = self.last.entry((lane, id)).or_default();
        if *last > order {
            let detail = format!("recorded in {id} behind what was typed later: {item:?}");
            return self.violated(Invariant::I3, detail);
        }
        *last = order;
        if nonce != expected {
            let detail = format!("nonce {nonce} in {id} where {expected} is next: {item:?}");
            self.violated(Invariant::I3, detail);
        }
    }

    /// The transcript of a call as the store has it in the end. Whatever wasn't told as it was recorded counts
    /// as recorded now; what was has to be the same.
    pub fn transcript<'a>(&mut self, call: CallId, entries: impl IntoIterator<Item = &'a Message>) {
        let known = self.calls.entry(call).or_insert_with(Call::new).transcript.len();
        let mut count = 0;
        for message in entries {
            count += 1;
            if count > known {
                if self.knows_records {
                    let detail = format!("entry {count} of {call} comes from nowhere");
                    return self.violated(Invariant::I1, detail);
                }
                self.recorded(message);
                continue;
            }
            let kept = Item::of(message).map(|(_, _, item)| item);
            if kept != self.call(call).transcript.get(count - 1).copied() {
                let detail = format!("entry {count} of {call} has become {kept:?}");
                return self.violated(Invariant::I1, detail);
            }
        }
        if count < known {
            self.violated(Invariant::I1, format!("{call} has {count} of {known} entries left"));
        }
    }

    /// Everything has been told, and everybody was back for long enough.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub fn finish(mut self) -> Result<(), Violation> {
        self.look_back();
        let open = self.calls.iter().find(|(_, call)| !call.over && !call.transcript.is_empty());
        if let Some((id, call)) = open {
            let detail = format!("{id} is {:?} in the end", call.stage);
            self.violated(Invariant::I12, detail);
        }
        self.violation.map_or(Ok(()), Err)
    }

    /// Everything has been told up to an instant at which all was cut off: nobody owes anything more.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub fn cut_off(mut self) -> Result<(), Violation> {
        for screen in &mut self.screens {
            screen.open = false;
        }
        self.look_back();
        self.violation.map_or(Ok(()), Err)
    }

    /// Holds screens and lines against the transcripts.
    fn look_back(&mut self) {
        for at in 0..self.screens.len() {
            self.finish_screen(at);
        }
        let open: Vec<u32> =
            self.screens.iter().filter(|screen| screen.open).map(|screen| screen.lane).collect();
        let lost = self.lines.values().find_map(|line| {
            let living = open.contains(&line.lane);
            let unknown = line.not_said.is_none() && !line.kept && living;
            match (line.shown_as_said, line.recorded) {
                (true, false) => Some((Invariant::I1, "shown as said, and not recorded", line)),
                (false, false) if unknown => {
                    Some((Invariant::I10, "neither recorded nor shown as not said", line))
                }
                _ => None,
            }
        });
        if let Some((invariant, what, line)) = lost {
            let head = String::from_utf8_lossy(&line.head).trim_end_matches('\0').to_owned();
            let detail = format!("a line of {} is {what}: {head}", line.call);
            self.violated(invariant, detail);
        }
    }

    /// A screen is a prefix, and whole if it is open and its party belongs to the call until the end.
    fn finish_screen(&mut self, at: usize) {
        let Some(screen) = self.screens.get(at) else { return };
        let mut found = None;
        for (id, shown) in &screen.calls {
            let Some(call) = self.calls.get(id) else { continue };
            if !call.transcript.starts_with(shown) {
                found = Some((*id, "isn't a prefix"));
            }
            let caller = call.caller == Some(screen.party) && !call.given_up;
            let operator = call.stage == Stage::Ended(Some(screen.party))
                && !self.parties[screen.party.0 as usize].signed_off;
            // With two processes, the one that is there when the call ends is told of it, once.
            let elsewhere = self.parties[screen.party.0 as usize].seen.contains(id);
            let owed = screen.open && (caller || operator) && !elsewhere;
            if owed && shown.len() < call.transcript.len() {
                found = Some((*id, "isn't whole"));
            }
        }
        if let Some((id, what)) = found {
            let detail =
                format!("screen {at} {what}: of {id} it shows {:?}", screen.calls[&id].len());
            self.violated(Invariant::I2, detail);
        }
    }
}

/// What those know who stand at the core.
impl Checker {
    /// From now on every fact is told at the moment of its commit, and presence as the core takes note of it.
    pub fn knows_facts(&mut self, terms: Terms) {
        self.knows_facts = true;
        self.terms = Some(terms);
    }

    /// The server has started: everybody is away since now.
    pub fn server_started(&mut self, now: Moment) {
        self.now = now;
        for party in &mut self.parties {
            party.presence = Presence::AwaySince(now);
        }
    }

    /// A turn begins that was decided at this moment.
    pub fn turn(&mut self, decided: Moment) {
        self.now = decided;
        for party in &mut self.parties {
            party.unsure = false;
        }
    }

    /// The core takes note that a party has a connection (again).
    pub fn here(&mut self, party: PartyId) {
        let party = self.member(party);
        party.presence = Presence::Here;
        party.unsure = true;
    }

    /// The core takes note that a party has no connection any more.
    pub fn away(&mut self, party: PartyId, since: Moment) {
        let party = self.member(party);
        if party.presence == Presence::Here {
            party.presence = Presence::AwaySince(since);
        }
        party.unsure = true;
    }

    /// Something is recorded now.
    pub fn fact(&mut self, fact: Fact) {
        match fact {
            Fact::Opened { call, caller, number } => self.opened(call, caller, number),
            Fact::Answered { call, operator } => self.answered(call, operator),
            Fact::PutBack(call) => {
                if let Stage::Talking(operator) = self.call(call).stage {
                    self.member(operator).call = None;
                    self.returned.push((call, operator));
                } else {
                    self.violated(
                        Invariant::I8,
                        format!("{call} is put back, and wasn't talked on"),
                    );
                }
                self.call(call).stage = Stage::Waiting;
                self.waits(1);
            }
            Fact::Done(call, side) => {
                let known = self.call(call);
                let operator = match known.stage {
                    Stage::Ended(operator) => operator,
                    _ => None,
                };
                let party = if side == Side::Caller { known.caller } else { operator };
                if let Some(party) = party {
                    self.done.push((call, party));
                    if side == Side::Operator {
                        self.member(party).call = None;
                    }
                }
            }
            Fact::SignedOff(id) => {
                let grace = self.terms.map(|terms| terms.operator_grace);
                let party = self.member(id);
                party.signed_off = true;
                party.call = None;
                let wanted = party.wants_off;
                if !wanted && !self.was_away_for(id, grace) {
                    let detail = format!("{id:?} is signed off, and neither asked nor was away");
                    self.violated(Invariant::I7, detail);
                }
            }
        }
    }

    fn opened(&mut self, id: CallId, caller: PartyId, number: u64) {
        let places = self.terms.map_or(u32::MAX, |terms| terms.places);
        if self.waiting >= places {
            let detail =
                format!("{id} is admitted while {} wait for {places} places", self.waiting);
            self.violated(Invariant::I9, detail);
        }
        let last = self.calls.values().map(|call| call.number).max();
        if last.is_some_and(|last| last >= number) {
            self.violated(Invariant::I6, format!("{id} has number {number} behind {last:?}"));
        }
        let call = self.call(id);
        call.caller = Some(caller);
        call.number = number;
        self.waits(1);
    }

    fn answered(&mut self, id: CallId, operator: PartyId) {
        if let Some(other) = self.member(operator).call.replace(id) {
            let detail = format!("{operator:?} answers {id}, and has {other} already");
            self.violated(Invariant::I8, detail);
        }
        if !self.call(id).waits() {
            let stage = self.call(id).stage;
            let detail = format!("{operator:?} answers {id}, which is {stage:?}");
            return self.violated(Invariant::I8, detail);
        }
        let number = self.call(id).number;
        if let Some((first, why)) = self.passed_over(number) {
            let detail = format!("{id} is answered before {first}, {why}");
            self.violated(Invariant::I6, detail);
        }
        let call = self.call(id);
        call.stage = Stage::Talking(operator);
        call.answered = true;
        if !call.operators.contains(&operator) {
            call.operators.push(operator);
        }
        self.waits(-1);
    }

    /// Somebody who came before this number and should have been answered first.
    fn passed_over(&self, number: u64) -> Option<(CallId, &'static str)> {
        let before = self.calls.iter().filter(|(_, call)| call.waits() && call.number < number);
        before
            .filter_map(|(id, call)| {
                let caller = self.parties.get(call.caller?.0 as usize)?;
                match caller.presence {
                    _ if caller.unsure => None,
                    Presence::Here => Some((*id, "who is there")),
                    Presence::AwaySince(since) if self.now < since + limits::PASSED_OVER => {
                        Some((*id, "who is waited for"))
                    }
                    Presence::AwaySince(_) => None,
                }
            })
            .next()
    }

    fn ended(&mut self, id: CallId, by: By, why: Why) {
        let terms = self.terms;
        let call = self.calls.entry(id).or_insert_with(Call::new);
        call.over = true;
        call.over_at = self.now;
        let (hung_up, caller, answered) = (call.hung_up, call.caller, call.answered);
        let waited = call.stage == Stage::Waiting;
        call.stage = match call.stage {
            Stage::Talking(operator) => Stage::Ended(Some(operator)),
            _ => Stage::Ended(None),
        };
        call.given_up = why == Why::TIMED_OUT;
        if !self.knows_facts {
            return;
        }
        if waited {
            self.waits(-1);
        }
        let kept = match (by, why) {
            (By::Caller, _) => hung_up[index(Side::Caller)],
            (By::Operator, _) => hung_up[index(Side::Operator)],
            (By::Server, Why::TIMED_OUT) => caller.is_some_and(|caller| {
                let grace = terms
                    .map(|terms| if answered { terms.call_grace } else { terms.waiting_grace });
                self.was_away_for(caller, grace)
            }),
            _ => false,
        };
        if !kept {
            let detail = format!("{id} ends by {by:?}, {why}, without cause");
            self.violated(Invariant::I7, detail);
        }
    }

    /// The turn is whole, and committed.
    pub fn turn_over(&mut self) {
        for (call, operator) in std::mem::take(&mut self.returned) {
            let caller = self.call(call).caller;
            let left = self.member(operator).signed_off;
            let let_go = caller.is_some_and(|it| {
                self.member(it).unsure || self.was_away_for(it, Some(limits::LET_GO))
            });
            if !left && !let_go {
                let detail = format!("{call} is put back, and neither side left it");
                self.violated(Invariant::I7, detail);
            }
        }
        for (call, id) in std::mem::take(&mut self.done) {
            let graces = self.terms.map(|terms| terms.call_grace.min(terms.waiting_grace));
            let party = self.member(id);
            let saw = party.seen.contains(&call);
            let gone =
                party.signed_off || (party.side == Side::Caller && self.was_away_for(id, graces));
            if gone && !saw {
                self.call(call).given_up = true;
            }
            if !saw && !gone {
                let detail = format!("{id:?} is done with {call}, whose end it never showed");
                self.violated(Invariant::I2, detail);
            }
        }
    }

    /// Whether a party has been away for this long, as far as anybody can tell.
    fn was_away_for(&self, party: PartyId, grace: Option<Duration>) -> bool {
        let (Some(grace), Some(it)) = (grace, self.parties.get(party.0 as usize)) else {
            return true;
        };
        let since = match it.presence {
            Presence::AwaySince(since) => Some(since),
            Presence::Here => None,
        };
        // Who was there and hasn't answered the end of its call in time is cut, and away from then on.
        let ends = self.calls.iter().filter(|(id, call)| {
            let ours = call.caller == Some(party) || call.stage == Stage::Ended(Some(party));
            call.over && ours && !it.seen.contains(*id)
        });
        let cut = ends.map(|(_, call)| call.over_at + limits::END_SEEN).min();
        let since = [since, cut].into_iter().flatten().min();
        since.is_some_and(|since| since + grace <= self.now)
    }

    /// Somebody was told which nonce comes next: all below it are recorded.
    pub fn told_next(&mut self, call: CallId, side: Side, next: Nonce) {
        let known = self.calls.get(&call).map_or(1, |call| call.next[index(side)]);
        if self.knows_records && next.0 > known {
            let detail =
                format!("{side:?} of {call} is told nonce {} is next, not {known}", next.0);
            self.violated(Invariant::I4, detail);
        }
    }

    /// Somebody who asked for a place at this moment is told there is none.
    pub fn busy(&mut self, asked: Moment) {
        let Some(terms) = self.terms else { return };
        let before = self.waited.iter().rev().find(|(at, _)| *at < asked).map_or(0, |it| it.1);
        let since = self.waited.iter().rev().take_while(|(at, _)| *at >= asked);
        let most = since.map(|(_, waiting)| *waiting).max().unwrap_or(0).max(before);
        if most < terms.places {
            let detail = format!("busy, while {most} waited for {} places", terms.places);
            self.violated(Invariant::I9, detail);
        }
    }

    /// How many wait, as far as is recorded.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Whether a call waits, as far as is recorded.
    #[must_use]
    pub fn is_waiting(&self, call: CallId) -> bool {
        self.calls.get(&call).is_some_and(Call::waits)
    }

    /// Whether somebody waits who came before this call.
    #[must_use]
    pub fn is_passing(&self, call: CallId) -> bool {
        let Some(number) = self.calls.get(&call).map(|call| call.number) else { return false };
        self.calls.values().any(|other| other.waits() && other.number < number)
    }

    /// Whether both sides asked for the call to end.
    #[must_use]
    pub fn both_hung_up(&self, call: CallId) -> bool {
        self.calls.get(&call).is_some_and(|call| call.hung_up == [true; 2])
    }

    /// Whether an operator asked to leave.
    #[must_use]
    pub fn asked_to_leave(&self, party: PartyId) -> bool {
        self.parties.get(party.0 as usize).is_some_and(|party| party.wants_off)
    }

    /// A buffer holds this much, of at most that.
    pub fn buffer(&mut self, what: &str, holds: usize, bound: usize) {
        if holds > bound {
            let detail = format!("{what} holds {holds}, its bound is {bound}");
            self.violated(Invariant::I11, detail);
        }
    }

    fn waits(&mut self, change: i32) {
        self.waiting = self.waiting.saturating_add_signed(change);
        self.waited.push((self.now, self.waiting));
    }
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
