//! Callers and operators killed with -9, and started again.

use std::{
    collections::VecDeque,
    fs, thread,
    time::{Duration, Instant},
};

use helpline_proto::ids::Side;
use helpline_server::store::DATABASE;
use helpline_tests::{
    Client, ClientSetup, Home, PATIENCE, Proof, Server, Transcripts, checker::Checker, dice::Dice,
    person::Person,
};
use rustix::process::Signal;
use serde_json::json;

/// Kills of one server's clients. More of them begin with a new one, so that what has to be known at once
/// stays within bounds.
const LEG: usize = 500;

const CALLERS: usize = 4;
const OPERATORS: usize = 2;

/// Lines of a caller in one call, at most.
const LINES: usize = 40;

/// Lines typed while nobody can say them.
const KEPT: usize = 5;

/// Time between two looks at all screens.
const LOOK: Duration = Duration::from_millis(5);

#[test]
fn a_killed_client_goes_on_where_it_was() {
    let mut proof = Proof::begin("client-kills");
    let kills = proof.times("HELPLINE_CLIENT_KILLS", 100);
    let (mut done, mut said, mut calls, mut kept, mut resumed) = (0, 0, 0, 0, 0);
    while done < kills {
        let mut leg = Leg::begin(Dice::new(proof.seed(), done));
        let end = kills.min(done + LEG);
        while done < end {
            done += leg.kill_some(end - done);
        }
        (kept, resumed) = (kept + leg.kept, resumed + leg.resumed);
        let left = leg.end();
        (said, calls) = (said + left.said(), calls + left.calls.len());
    }
    assert!(kept > kills / 10, "hardly a line was unsaid when its client was killed: {kept}");
    assert!(resumed > kills / 2, "hardly anybody was killed in the midst of something: {resumed}");
    proof.holds(&[
        ("rounds", json!(kills)),
        ("resumed", json!(resumed)),
        ("kept_lines", json!(kept)),
        ("said", json!(said)),
        ("calls", json!(calls)),
    ]);
}

/// Somebody, and what they are about to do.
struct Someone {
    person: Person,
    home: Home,
    to_type: usize,
    /// Lines of the other side that were answered, or not worth an answer.
    answered: usize,
    hung_up: bool,
    /// It was killed, and goes on.
    resumes: bool,
}

/// One server, and those on the line.
struct Leg {
    server: Server,
    dice: Dice,
    checker: Checker,
    people: Vec<Someone>,
    /// Callers call again.
    goes_on: bool,
    /// Lines that a killed client had kept.
    kept: usize,
    /// How often somebody went on with a call.
    resumed: usize,
}

impl Leg {
    fn begin(dice: Dice) -> Self {
        let server = Server::with().says(0).places(50).start();
        let checker = Checker::new();
        let (people, goes_on) = (Vec::new(), true);
        let mut leg = Self { server, dice, checker, people, goes_on, kept: 0, resumed: 0 };
        for n in 0..OPERATORS + CALLERS {
            let (side, name) = if n < OPERATORS {
                (Side::Operator, format!("operator{n}"))
            } else {
                (Side::Caller, format!("caller{n}"))
            };
            let home = Home::new();
            let setup = leg.setup(side, &name, &home, false);
            let person = Person::sit_down(side, &name, setup, &mut leg.checker);
            leg.people.push(Someone::new(person, home, &mut leg.dice));
        }
        leg
    }

    fn setup(&self, side: Side, name: &str, home: &Home, resume: bool) -> ClientSetup {
        let address = self.server.address();
        let setup = match side {
            Side::Caller if resume => Client::call(address).args(["--resume"]),
            Side::Caller => Client::call(address),
            Side::Operator => Client::desk(address).args(["--auto"]),
        };
        setup.name(name).json().home(home)
    }

    /// Kills some of them, at most so many, and starts them again. Returns how many.
    fn kill_some(&mut self, most: usize) -> usize {
        let pause = self.dice.millis(300);
        self.run_for(pause);
        let freezes = self.dice.chance(30);
        let count = 1 + self.dice.below(3.min(most));
        let first = self.dice.below(self.people.len());
        let victims: Vec<usize> = (0..count).map(|n| (first + n) % self.people.len()).collect();
        if freezes {
            self.server.freeze();
            self.have_lines_kept(&victims);
        }
        for victim in &victims {
            self.kill(*victim);
        }
        if freezes {
            self.server.signal(Signal::CONT);
        }
        if self.dice.chance(50) {
            let pause = self.dice.millis(300);
            self.run_for(pause);
        }
        for victim in &victims {
            self.start_again(*victim);
        }
        count
    }

    /// The server is still: what is typed now is kept, and not said.
    fn have_lines_kept(&mut self, victims: &[usize]) {
        for victim in victims {
            let someone = &mut self.people[*victim];
            if someone.person.call.is_none() || someone.hung_up {
                continue;
            }
            for _ in 0..KEPT {
                someone.person.type_line(&mut self.checker, 10);
            }
            let typed = someone.person.unknown().iter().rev().take(KEPT).cloned();
            let typed: VecDeque<String> = typed.collect();
            let begun = Instant::now();
            let call = someone.person.call;
            // An end that is on its way may come before them, and another call behind it; and the server may not have
            // come to rest.
            while someone.person.call == call {
                let kept = kept(&someone.home);
                let unknown = someone.person.unknown();
                let is_safe =
                    |line: &String| kept.contains(line.as_str()) || !unknown.contains(line);
                if typed.iter().all(is_safe) {
                    break;
                }
                someone.person.look(&mut self.checker);
                let seen = || someone.person.client.as_ref().map(|client| client.seen());
                assert!(begun.elapsed() < PATIENCE, "not kept: {typed:?}: {}", seen().unwrap());
                thread::sleep(LOOK);
            }
        }
    }

    fn kill(&mut self, victim: usize) {
        let someone = &mut self.people[victim];
        if let Some(client) = &mut someone.person.client {
            client.kill();
        }
        let kept = kept(&someone.home);
        someone.person.kill(&mut self.checker, |line| kept.contains(line));
        self.kept += someone.person.unknown().len();
        self.resumed += usize::from(someone.person.unfinished.is_some());
    }

    fn start_again(&mut self, victim: usize) {
        let someone = &self.people[victim];
        let (side, name) = (someone.person.side(), someone.person.name().to_owned());
        let setup = self.setup(side, &name, &someone.home, true);
        let someone = &mut self.people[victim];
        someone.person.start_again(setup, &mut self.checker);
        // Whether its hanging up was heard it can't know.
        (someone.resumes, someone.hung_up) = (true, false);
        // What it said before it was killed comes again.
        (someone.answered, someone.person.heard) = (0, 0);
    }

    fn run_for(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.tick();
        }
    }

    /// Everybody looks at the screen, and does something about it.
    fn tick(&mut self) {
        for n in 0..self.people.len() {
            self.people[n].acts(&mut self.checker, &mut self.dice, self.goes_on);
            assert_eq!(self.checker.violation(), None);
            let someone = &mut self.people[n];
            if someone.person.client.is_some() && !someone.person.is_here() {
                self.has_left(n);
            }
        }
        thread::sleep(LOOK);
    }

    /// Somebody's program has ended by itself: a call is over.
    fn has_left(&mut self, n: usize) {
        let someone = &mut self.people[n];
        let seen = someone.person.client.as_ref().map(|client| client.seen());
        let code = someone.person.leave(&mut self.checker);
        let is_over = someone.person.unfinished.is_none();
        let (side, name) = (someone.person.side(), someone.person.name().to_owned());
        // Answered, not everything said, left before an answer.
        let ends = [0, 1, 130].map(Some);
        let is_well = match side {
            // Who goes on with a call that it has seen the end of may be told that there is none.
            Side::Caller => is_over && (someone.resumes || ends.contains(&code)),
            Side::Operator => !self.goes_on && code == Some(0),
        };
        assert!(is_well, "{code:?}, {:?} unfinished: {}", someone.person.unfinished, seen.unwrap());
        if side == Side::Caller && self.goes_on {
            let setup = self.setup(side, &name, &self.people[n].home, false);
            let mut person = Person::sit_down(side, &name, setup, &mut self.checker);
            person.goes_on_counting(&self.people[n].person);
            let home = self.people[n].home.clone();
            self.people[n] = Someone::new(person, home, &mut self.dice);
        }
    }

    /// Everybody finishes, and all that was said is kept.
    fn end(mut self) -> Transcripts {
        self.goes_on = false;
        self.run_until(Side::Caller);
        for someone in &mut self.people {
            if let Some(client) = &mut someone.person.client {
                client.close_stdin();
            }
        }
        self.run_until(Side::Operator);
        let kept = Transcripts::read(&self.server.data().join(DATABASE)).unwrap();
        kept.tell(&mut self.checker);
        self.checker.finish().unwrap_or_else(|violation| panic!("{violation}"));
        kept
    }

    /// Until nobody of this side is left.
    fn run_until(&mut self, side: Side) {
        let begun = Instant::now();
        let is_left =
            |someone: &Someone| someone.person.side() == side && someone.person.client.is_some();
        while self.people.iter().any(is_left) {
            self.tick();
            if begun.elapsed() > PATIENCE {
                let left = self.people.iter().filter(|someone| is_left(someone));
                let seen = left.filter_map(|left| Some(left.person.client.as_ref()?.seen()));
                panic!("not at an end: {}", seen.collect::<String>());
            }
        }
    }
}

impl Someone {
    fn new(person: Person, home: Home, dice: &mut Dice) -> Self {
        let to_type = match person.side() {
            Side::Caller => LINES / 10 + dice.below(LINES),
            Side::Operator => 0,
        };
        Self { person, home, to_type, answered: 0, hung_up: false, resumes: false }
    }

    fn acts(&mut self, checker: &mut Checker, dice: &mut Dice, goes_on: bool) {
        self.person.look(checker);
        if self.person.call.is_none() {
            return;
        }
        match self.person.side() {
            Side::Caller => {
                if !goes_on {
                    self.to_type = 0;
                }
                if self.to_type > 0 && dice.chance(20) {
                    self.to_type -= 1;
                    self.person.type_line(checker, dice.below(60));
                }
                let sure = self.person.unknown().is_empty() || dice.chance(5);
                if self.to_type == 0 && !self.hung_up && sure {
                    self.hung_up = true;
                    self.person.command("hang_up");
                }
            }
            Side::Operator => {
                while self.answered < self.person.heard {
                    self.answered += 1;
                    if dice.chance(40) {
                        self.person.type_line(checker, dice.below(60));
                    }
                }
            }
        }
    }
}

/// Everything that somebody's clients keep in files.
fn kept(home: &Home) -> String {
    let Ok(files) = fs::read_dir(home.path().join("state/helpline")) else { return String::new() };
    files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap_or_default()).collect()
}
