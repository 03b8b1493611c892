//! The world: everybody in it, one clock, and one queue of what happens when.
//!
//! Nothing waits and nothing runs beside anything else: an event is taken out, done, and puts others in.
//! What happens at the same moment happens in an order that the dice choose.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeSet, BinaryHeap},
    time::Duration,
};

use helpline_proto::{ids::Side, limits, session::Settings, time::Moment};
use helpline_server::tell;
use helpline_switchboard::Rules;
use helpline_tests::{
    checker::{Checker, Invariant, Violation},
    dice::Dice,
};

use crate::{
    client::Process,
    conn::Conn,
    coverage::{Coverage, Sight},
    net::{NEVER, Wire},
    params::{Dim, Params},
    people::Person,
    server::Server,
};

/// Once nothing goes wrong any more, everything is in order within this time.
const SETTLES: Duration = Duration::from_secs(60);

/// More events than any world of the usual size has: it spins.
const SPINS: u64 = 5_000_000;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A process has something to do.
    Process(usize),
    /// A connection has.
    Conn(usize),
    /// The core has; of the server's process of this number.
    Core(u32),
    /// A commit is done.
    Commit(u32),
    /// A person does something.
    Person(usize),
    /// A process tries to connect.
    Dial(usize),
    /// A person starts a process again.
    Restart(usize),
    /// An operator answers an offer.
    React(usize),
    /// A process that has a twin says something.
    Mutter(usize),
    /// Something goes wrong.
    Fault,
    /// The server's process is started.
    ServerStart,
    /// The server's process has said its last words.
    Left(u32),
    /// Those who talk have had their time.
    DrainOver(u32),
    /// From now on nothing goes wrong.
    Finale,
    /// Is everything in order?
    Look,
}

struct Scheduled {
    at: Moment,
    tie: u32,
    event: Event,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.tie).cmp(&(other.at, other.tie))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scheduled {}

/// Everybody and everything.
pub(crate) struct World {
    pub(crate) params: Params,
    pub(crate) now: Moment,
    queue: BinaryHeap<Reverse<Scheduled>>,
    pub(crate) dice: Dice,
    ties: Dice,
    pub(crate) people: Vec<Person>,
    pub(crate) processes: Vec<Process>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) conns: Vec<Option<Box<Conn>>>,
    pub(crate) conn_wakes: Vec<Moment>,
    /// The connections that have a server's end.
    pub(crate) live: Vec<usize>,
    /// The wires on which the server left an entry out on purpose.
    pub(crate) skipped: BTreeSet<usize>,
    pub(crate) server: Server,
    pub(crate) checker: Checker,
    pub(crate) coverage: Coverage,
    pub(crate) finale: bool,
    /// The core's state is compared with the store's at every commit.
    pub(crate) compares: bool,
    traces: bool,
}

/// What became of a world.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) violation: Option<Violation>,
    pub(crate) coverage: Coverage,
    pub(crate) events: u64,
    /// A number that differs when anything did.
    pub(crate) print: u64,
}

impl World {
    /// A world before anything has happened.
    pub(crate) fn new(params: Params, compares: bool, traces: bool) -> Self {
        let mut dice = Dice::new(params.seed, 1);
        let dims = params.dims;
        let seconds = |dice: &mut Dice, from: u64, most: usize| {
            Duration::from_secs(from) + dice.millis(most * 1_000)
        };
        let rules = Rules {
            places: u32::try_from(if dims.has(Dim::FewPlaces) {
                dice.below(3)
            } else {
                1 + dice.below(params.callers + 2)
            })
            .unwrap(),
            waiting_grace: limits::WAITING_GRACE,
            call_grace: limits::CALL_GRACE,
            operator_grace: limits::OPERATOR_GRACE,
        };
        let rules = if dims.has(Dim::ShortGraces) {
            Rules {
                waiting_grace: seconds(&mut dice, 1, 20),
                call_grace: seconds(&mut dice, 1, 40),
                operator_grace: seconds(&mut dice, 1, 20),
                ..rules
            }
        } else {
            rules
        };
        let says_a_second = if dims.has(Dim::SayRate) { Some(limits::SAYS_A_SECOND) } else { None };
        let settings = Settings { says_a_second };
        let server = Server::new(rules, settings, dims.has(Dim::NarrowDoor), dice.split());
        let mut checker = Checker::new();
        checker.knows_records();
        checker.knows_facts(server.terms());
        let mut world = Self {
            params,
            now: Moment(1_000),
            queue: BinaryHeap::new(),
            ties: dice.split(),
            dice: dice.split(),
            people: Vec::new(),
            processes: Vec::new(),
            wires: Vec::new(),
            conns: Vec::new(),
            conn_wakes: Vec::new(),
            live: Vec::new(),
            skipped: BTreeSet::new(),
            server,
            checker,
            coverage: Coverage::default(),
            finale: false,
            compares,
            traces,
        };
        world.server.lies.repeats = if dims.has(Dim::Repeats) { 20 } else { 0 };
        world.server.lies.skips = if dims.has(Dim::Skips) { 3 } else { 0 };
        world.populate();
        world
    }

    fn populate(&mut self) {
        let trouble = self.params.span * 1_000;
        for number in 0..self.params.operators + self.params.callers {
            let side = if number < self.params.operators { Side::Operator } else { Side::Caller };
            let dice = Dice::new(self.params.seed, 100 + number);
            self.new_person(side, dice);
            let at =
                self.now + self.dice.millis([500, 5_000, trouble / 2][self.dice.clone().below(3)]);
            self.schedule(at, Event::Person(number));
        }
        let mut faults = Dice::new(self.params.seed, 2);
        for _ in 0..self.params.faults {
            let at = self.now + faults.millis(trouble);
            self.schedule(at, Event::Fault);
        }
        self.schedule(self.now, Event::ServerStart);
        let end = self.now + Duration::from_secs(u64::try_from(self.params.span).unwrap());
        self.schedule(end, Event::Finale);
    }

    pub(crate) fn schedule(&mut self, at: Moment, event: Event) {
        if at < NEVER {
            let tie = u32::try_from(self.ties.below(1 << 31)).unwrap();
            self.queue.push(Reverse(Scheduled { at: at.max(self.now), tie, event }));
        }
    }

    pub(crate) fn see(&mut self, sight: Sight) {
        self.coverage.see(sight);
    }

    /// Says what happens, if anybody reads it.
    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.traces {
            println!("{:>9} {}", self.now.0, what());
        }
    }

    /// Lets everything happen, until all is in order or something can't be.
    pub(crate) fn run(mut self) -> Outcome {
        let mut events = 0;
        let mut print = 0_u64;
        let mut whole = false;
        let ends =
            self.now + Duration::from_secs(u64::try_from(self.params.span).unwrap()) + SETTLES;
        while let Some(Reverse(Scheduled { at, event, .. })) = self.queue.pop() {
            if at > ends || self.checker.violation().is_some() {
                break;
            }
            self.now = at;
            events += 1;
            print = print.rotate_left(5) ^ at.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if events > SPINS {
                self.checker.violated(Invariant::I12, "it spins".into());
                break;
            }
            if event == Event::Look && self.is_settled().is_ok() {
                whole = true;
                break;
            }
            self.happen(event);
        }
        self.now = self.now.max(ends.min(self.now));
        if !whole
            && self.checker.violation().is_none()
            && let Err(what) = self.is_settled()
        {
            self.checker.violated(Invariant::I12, what);
        }
        let violation = self.judge();
        Outcome { violation, coverage: self.coverage, events, print }
    }

    /// The last judgement, over what the disk has.
    fn judge(&mut self) -> Option<Violation> {
        let mut checker = std::mem::take(&mut self.checker);
        if checker.violation().is_none() {
            for call in self.server.disk.calls() {
                let entries = self.server.disk.entries(call);
                let messages: Vec<_> =
                    entries.into_iter().map(|entry| tell::entry(call, entry)).collect();
                checker.transcript(call, &messages);
            }
        }
        checker.finish().err()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Process(number) => {
                if self.processes[number].wake == self.now {
                    self.processes[number].wake = NEVER;
                    self.use_process(number);
                }
            }
            Event::Conn(id) => {
                if self.conn_wakes[id] == self.now {
                    self.conn_wakes[id] = NEVER;
                    self.serve(id);
                    self.break_if_cut(id);
                }
            }
            Event::Core(epoch) => self.turn(epoch),
            Event::Commit(epoch) => self.commit(epoch),
            Event::Person(at) => self.step(at),
            Event::Dial(number) => self.dial(number),
            Event::Restart(at) => self.restart(at),
            Event::React(number) => self.react(number),
            Event::Mutter(number) => self.say(number),
            Event::Fault => self.go_wrong(),
            Event::ServerStart => self.start_server(),
            Event::Left(epoch) => self.left(epoch),
            Event::DrainOver(epoch) => self.drain_over(epoch),
            Event::Finale => self.stop_going_wrong(),
            Event::Look => {
                self.fetch_refused();
                let at = self.now + Duration::from_secs(2);
                self.schedule(at, Event::Look);
            }
        }
    }

    pub(crate) fn wake_conn(&mut self, id: usize, at: Moment) {
        let at = at.max(self.now);
        if self.conns[id].is_some() && at < self.conn_wakes[id] {
            self.conn_wakes[id] = at;
            self.schedule(at, Event::Conn(id));
        }
    }

    pub(crate) fn wake_conn_when_up_comes(&mut self, id: usize) {
        if let Some(at) = self.wires[id].up.next() {
            self.wake_conn(id, at);
        }
    }

    /// Whether every call has ended and every process is idle; if not, what isn't in order.
    fn is_settled(&self) -> Result<(), String> {
        if !self.finale {
            return Err("the end hasn't come".into());
        }
        let Some(core) = self.server.core() else { return Err("the server isn't up".into()) };
        let line = core.switchboard();
        if line.calls() > 0 {
            return Err(format!("{} calls, {} waiting, are left", line.calls(), line.waiting()));
        }
        for (number, process) in self.processes.iter().enumerate() {
            if !process.alive {
                continue;
            }
            let Some(session) = &process.session else {
                return Err(format!("process {number} has never been connected"));
            };
            if !process.calls.is_empty() || session.unsaid() > 0 || process.wire.is_none() {
                return Err(format!(
                    "process {number} has calls {:?}, {} lines unsaid, a connection: {}",
                    process.calls,
                    session.unsaid(),
                    process.wire.is_some(),
                ));
            }
            let side = self.people[process.person].side;
            if side == Side::Caller && !self.people[process.person].over && session.unsaid() == 0 {
                return Err(format!("process {number} is still there"));
            }
        }
        Ok(())
    }
}
