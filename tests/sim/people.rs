//! People: who they are, and what they do with their processes.
//!
//! Each has so many things to do, one after another, at times and of kinds that their own dice choose.

use helpline_proto::{
    ids::{Answering, Side, Ticket},
    limits,
    message::{Answer, Message, Next, Pause, Ready, Ref, SignOff},
    text::{Name, Text},
    time::Moment,
};
use helpline_tests::{
    checker::{PartyId, ScreenId},
    dice::Dice,
};

use crate::{
    client::{Unsaid, head},
    coverage::Sight,
    params::Dim,
    world::{Event, World},
};

/// A person, who has a process most of the time.
pub(crate) struct Person {
    pub(crate) side: Side,
    pub(crate) name: Name,
    pub(crate) answering: Answering,
    pub(crate) ticket: Ticket,
    pub(crate) party: PartyId,
    /// The process it uses, if one lives.
    pub(crate) process: Option<usize>,
    /// Some process with this ticket was let in.
    pub(crate) admitted: bool,
    /// What the last process left.
    pub(crate) journal: Vec<Unsaid>,
    pub(crate) last_screen: Option<ScreenId>,
    /// What this ticket stood for is over.
    pub(crate) over: bool,
    /// It was refused. What an earlier process asked may still reach the server, and be granted.
    pub(crate) refused: bool,
    pub(crate) visits: usize,
    pub(crate) steps: usize,
    pub(crate) lines: u32,
    pub(crate) dice: Dice,
}

impl Person {
    /// Whether any process with its ticket was started.
    pub(crate) fn started(&self) -> bool {
        self.last_screen.is_some()
    }
}

/// Coming and going.
impl World {
    /// Somebody new, with a ticket of their own.
    pub(crate) fn new_person(&mut self, side: Side, mut dice: Dice) {
        let number = self.people.len();
        let name = Name::new(format!("{side:?} {number}")).unwrap();
        let answering = if dice.chance(50) { Answering::ByItself } else { Answering::ByHand };
        self.people.push(Person {
            side,
            name,
            answering,
            ticket: dice.ticket(),
            party: self.checker.party(side),
            process: None,
            admitted: false,
            journal: Vec::new(),
            last_screen: None,
            over: false,
            refused: false,
            visits: 1 + dice.below(3),
            steps: self.params.steps,
            lines: 0,
            dice,
        });
        let ticket = self.people[number].ticket.clone();
        self.server.knows(&ticket, self.people[number].party);
    }

    /// A person whose ticket is worth nothing any more gets another, if they want.
    fn visits_again(&mut self, at: usize) -> bool {
        let person = &mut self.people[at];
        if !person.over || person.visits == 0 {
            return !person.over;
        }
        person.visits -= 1;
        (person.over, person.refused) = (false, false);
        person.admitted = false;
        person.journal.clear();
        person.last_screen = None;
        person.ticket = person.dice.ticket();
        person.party = self.checker.party(person.side);
        let (ticket, party) = (person.ticket.clone(), person.party);
        self.server.knows(&ticket, party);
        true
    }
}

/// What people do.
impl World {
    /// The next thing that a person does.
    pub(crate) fn step(&mut self, at: usize) {
        if self.finale {
            return;
        }
        if self.people[at].process.is_none() {
            if self.visits_again(at) {
                self.start_process(at, false);
            }
        } else {
            self.act(at);
        }
        let person = &mut self.people[at];
        person.steps = person.steps.saturating_sub(1);
        if person.steps > 0 {
            let pause = match person.dice.below(6) {
                0 | 1 => person.dice.millis(300),
                2..=4 => person.dice.millis(3_000),
                _ => person.dice.millis(self.params.span * 250),
            };
            let at_moment = self.now + pause;
            self.schedule(at_moment, Event::Person(at));
        }
    }

    fn act(&mut self, at: usize) {
        let dims = self.params.dims;
        let person = &mut self.people[at];
        let Some(number) = person.process else { return };
        let hand = person.side == Side::Operator;
        let roll = person.dice.below(100);
        match roll {
            0..4 if dims.has(Dim::Kill) => return self.kill_for_a_while(at, false),
            4..8 if dims.has(Dim::HostDies) => return self.kill_for_a_while(at, true),
            8..13 if dims.has(Dim::Twin) => return self.twin(at, number),
            13..19 if dims.has(Dim::SlowReader) => return self.read_slowly(at, number),
            19..27 if dims.has(Dim::Bursts) => {
                self.see(Sight::Burst);
                let many = 2 + self.people[at].dice.below(90);
                return (0..many).for_each(|_| self.say(number));
            }
            27..33 => return self.hang_up(number),
            33..36 => return self.typing(number),
            36..60 if hand => self.ask(number, Next {}.into()),
            60..66 if hand => self.ask(number, Pause {}.into()),
            66..76 if hand => self.ask(number, Ready {}.into()),
            76..79 if hand => {
                let party = self.people[at].party;
                self.checker.wants_off(party);
                self.ask(number, SignOff {}.into());
            }
            _ => self.say(number),
        }
        self.use_process(number);
    }

    fn kill_for_a_while(&mut self, at: usize, host_dies: bool) {
        self.kill(at, host_dies);
        let person = &mut self.people[at];
        let (often, least) =
            if self.params.dims.has(Dim::Absences) { (20, 15_000) } else { (70, 0) };
        let long = if person.dice.chance(often) { 3_000 } else { 60_000 };
        let at_moment = Moment(self.now.0 + least) + person.dice.millis(long);
        self.schedule(at_moment, Event::Restart(at));
    }

    fn twin(&mut self, at: usize, older: usize) {
        if !self.people[at].admitted {
            return;
        }
        self.see(Sight::Twin);
        self.say(older);
        self.start_process(at, true);
        let at_moment = self.now + self.dice.millis(400);
        self.schedule(at_moment, Event::Mutter(older));
    }

    fn read_slowly(&mut self, at: usize, number: usize) {
        let now = self.now;
        let dice = &mut self.people[at].dice;
        if dice.chance(50) {
            let until = now + dice.millis(25_000);
            self.processes[number].reads_from = until;
            self.see(Sight::NeverReads);
        } else {
            self.processes[number].reads_most = 200 + dice.below(8_000);
            self.see(Sight::SlowReads);
        }
        if let Some(wire) = self.processes[number].wire {
            self.wires[wire].down.room = 2_000 + self.dice.below(16_000);
        }
    }

    /// Says something in the call that is open, if one is.
    pub(crate) fn say(&mut self, number: usize) {
        let process = &mut self.processes[number];
        let Some(session) = process.session.as_mut().filter(|_| process.alive) else { return };
        let Some(call) = process.calls.last().copied() else { return };
        if session.unsaid_bytes() > limits::UNSAID {
            return;
        }
        let person = &mut self.people[process.person];
        let size = match person.dice.below(10) {
            0 => person.dice.below(2_000),
            1..4 if self.params.dims.has(Dim::BigLines) => {
                self.coverage.see(Sight::BigLine);
                limits::TEXT
            }
            _ => person.dice.below(60),
        };
        person.lines += 1;
        let mut text = format!("{}.{} ", process.person, person.lines);
        let missing = size.saturating_sub(text.len());
        text.extend(std::iter::repeat_n('x', missing));
        let text = Text::new(text).unwrap();
        if session.say(call, text.clone(), Ref(person.lines)).is_ok() {
            self.checker.typed(process.screen, call, text.as_str());
            self.trace(|| format!("process {number} types {}", head(&text)));
        }
        let now = self.now;
        self.wake_process(number, now);
    }

    fn hang_up(&mut self, number: usize) {
        let process = &mut self.processes[number];
        let Some(session) = &mut process.session else { return };
        let Some(call) = process.calls.last().copied() else { return };
        let side = self.people[process.person].side;
        if session.hang_up(call, Ref(1_000_000)).is_ok() {
            self.checker.hung_up(call, side);
            self.trace(|| format!("process {number} hangs up {call}"));
        }
        self.use_process(number);
    }

    fn typing(&mut self, number: usize) {
        let process = &mut self.processes[number];
        let Some(session) = &mut process.session else { return };
        if let Some(call) = process.calls.last() {
            session.typing(*call);
        }
        self.use_process(number);
    }

    fn ask(&mut self, number: usize, request: Message) {
        self.trace(|| format!("process {number} asks for {}", request.kind().name));
        if let Some(session) = &mut self.processes[number].session {
            session.request(request, Ref(1_000_001));
        }
    }

    /// An operator answers what was offered a moment ago.
    pub(crate) fn react(&mut self, number: usize) {
        let process = &mut self.processes[number];
        if !process.alive || self.finale {
            return;
        }
        let request = match (self.people[process.person].dice.chance(50), process.offered) {
            (true, Some(call)) => Answer { call }.into(),
            _ => Next {}.into(),
        };
        if self.params.dims.has(Dim::Bursts) && self.dice.chance(30) {
            let many = limits::UNANSWERED + self.dice.below(20);
            (0..many).for_each(|_| self.say(number));
        }
        self.ask(number, request);
        self.use_process(number);
    }
}
