//! Random inputs, held against a line that is too simple to be wrong, and a store that only knows what is recorded.

use std::{collections::BTreeSet, time::Duration};

use helpline_proto::{
    ids::{Answering, By, CallId, Nonce, Seq},
    limits,
    text::{Name, Text},
    time::Moment,
};
use helpline_switchboard::{
    Dismissal, Effect, Expulsion, Input, Now, OperatorId, Party, Record, Request, Rules,
    Switchboard, TicketHash,
};
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, TestRunner},
};

use crate::{naive::Naive, store::Store};

/// The same line three times.
struct Lines {
    rules: Rules,
    line: Switchboard,
    naive: Naive,
    store: Store,
    /// Those who are done.
    done: BTreeSet<Party>,
}

impl Lines {
    fn new(rules: Rules) -> Self {
        let (naive, store) = (Naive::new(rules), Store::default());
        let line = Switchboard::restore(rules, &store.snapshot, now(&naive));
        Self { rules, line, naive, store, done: BTreeSet::new() }
    }

    fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        let end = matches!(input, Input::End);
        self.line.handle(now(&self.naive), input.clone(), &mut effects);
        let expected = self.naive.handle(input);
        assert_eq!(effects, expected);
        self.check(&effects);
        if end {
            assert_eq!(self.line.poll_timeout(), None);
            self.restart();
        }
        self.compare();
    }

    fn timeout(&mut self) {
        let mut effects = Vec::new();
        self.line.handle_timeout(now(&self.naive), &mut effects);
        let expected = self.naive.timeout();
        assert_eq!(effects, expected);
        self.check(&effects);
        self.compare();
    }

    /// Goes on from what the store has kept.
    fn restart(&mut self) {
        self.line = Switchboard::restore(self.rules, &self.store.snapshot, now(&self.naive));
        self.naive.restart();
        self.compare();
    }

    /// Has a party told its state, as after coming back.
    fn retell(&mut self, party: Party) {
        let mut effects = Vec::new();
        self.line.resumed(party, &mut effects);
        assert_eq!(effects, self.naive.resumed(party));
        effects.clear();
        self.line.restate(party, &mut effects);
        assert_eq!(effects, self.naive.restated(party));
    }

    /// What must be true of effects whatever the model says.
    fn check(&mut self, effects: &[Effect]) {
        let refused = effects.iter().any(|effect| matches!(effect, Effect::Refuse(_)));
        assert!(!refused || effects.len() == 1 || effects[0] == Effect::Record(Record::Refused));
        for effect in effects {
            self.store.apply(effect);
            match effect {
                Effect::Record(Record::Answered { call, .. }) => self.check_order(*call),
                Effect::Dismiss { party, why: Dismissal::Done | Dismissal::Expelled(_) } => {
                    assert!(self.done.insert(*party), "done once");
                }
                Effect::Dismiss { party, .. } | Effect::Tell { to: party, .. } => {
                    assert!(!self.done.contains(party), "told to {party:?}, who is done");
                }
                Effect::Entry { call, hearers, .. } => {
                    let caller = hearers.caller.then_some(Party::Caller(*call));
                    for party in caller.into_iter().chain(hearers.operator.map(Party::Operator)) {
                        assert!(!self.done.contains(&party), "heard by {party:?}, who is done");
                    }
                }
                Effect::Record(_) | Effect::Refuse(_) => {}
            }
        }
    }

    /// Whoever still waits before a call that was just answered has been away for long.
    fn check_order(&self, answered: CallId) {
        let Some(answered) = self.naive.call(answered) else { return };
        for call in self.naive.queue() {
            let away = call.here.away.map(|since| self.naive.now - since);
            let long = away.is_some_and(|away| away >= 20_000);
            assert!(call.number > answered.number || long, "first come, first served");
        }
    }

    /// Whether everything that can be asked for is the same.
    fn compare(&self) {
        let naive = &self.naive;
        assert_eq!(self.line.snapshot(), self.store.snapshot, "what is recorded is all there is");
        assert_eq!(self.line.poll_timeout().map(|at| at.0), naive.poll_timeout());
        let counts = [
            (self.line.waiting(), naive.queue().len()),
            (self.line.talking(), naive.talking()),
            (self.line.finishing(), naive.finishing()),
            (self.line.calls(), naive.calls.len()),
            (self.line.operators(), naive.operators.len()),
        ];
        for (count, expected) in counts {
            assert_eq!(usize::try_from(count).unwrap(), expected);
        }
        for call in &naive.calls {
            assert_eq!(self.line.last_seq(call.id), Some(Seq(call.seq)));
        }
        for operator in &naive.operators {
            assert_eq!(self.line.call_of(operator.id), operator.call);
        }
    }
}

fn now(naive: &Naive) -> Now {
    Now { moment: Moment(naive.now), at: naive.at() }
}

/// The ticket of the one who came as this many-eth of all.
fn ticket(number: usize) -> TicketHash {
    let mut ticket = [0; 32];
    ticket[..8].copy_from_slice(&number.to_be_bytes());
    TicketHash(ticket)
}

/// How the dice fall.
#[derive(Clone, Copy)]
enum Mood {
    /// Everything happens about as often.
    Mixed,
    /// A crowd waits.
    Crowded,
    /// Connections break all the time.
    Shaky,
}

/// Plays a game: every number is one step.
fn play(mood: Mood, rules: Rules, dice: &[u32]) {
    let mut lines = Lines::new(rules);
    let (mut callers, mut operators) = (Vec::new(), Vec::new());
    for throw in dice {
        let [kind, who, what, more] = throw.to_le_bytes().map(usize::from);
        let naive = &lines.naive;
        // Mostly somebody who is there, sometimes somebody who is away or done.
        let pick = |all: &[Party], there: bool| {
            let fits = |party: &&Party| {
                naive.here(**party).is_some_and(|here| here.away.is_none() == there)
            };
            let fitting: Vec<Party> = all.iter().filter(fits).copied().collect();
            let from = if fitting.is_empty() || more % 16 == 0 { all } else { &fitting };
            (!from.is_empty()).then(|| from[who % from.len()])
        };
        let (caller, operator) = (pick(&callers, true), pick(&operators, true));
        let one_of = |caller: Option<Party>, operator: Option<Party>| {
            if what % 2 == 0 { caller.or(operator) } else { operator.or(caller) }
        };
        let either = one_of(caller, operator);
        let absent = one_of(pick(&callers, false), pick(&operators, false));
        // Mostly the party's own call, sometimes another's.
        let call_for = |party: Party| {
            let offered = || naive.offer.as_ref().map(|(call, _)| *call);
            let own = naive.own(party).1.or_else(offered).filter(|_| more % 16 != 1);
            own.unwrap_or_else(|| match callers.get(what % callers.len().max(1)) {
                Some(Party::Caller(id)) => *id,
                _ => CallId([0; 16]),
            })
        };
        let ask = |from: Option<Party>, request: fn(CallId) -> Request| {
            from.map(|from| Input::Ask { from, request: request(call_for(from)) })
        };
        let kind = match mood {
            Mood::Mixed => kind % 80,
            Mood::Crowded if kind < 64 => 8,
            Mood::Crowded => kind % 76,
            Mood::Shaky if kind < 48 => 60 + kind % 12,
            Mood::Shaky => kind % 80,
        };
        let input = match kind {
            0..=6 => {
                let times = [0, 1, 400, 999, 1_000, 2_500, 9_999, 10_000, 10_001, 20_000, 60_000];
                let times = times.into_iter().chain([5_000, 15_000, 30_000, 120_000, 600_000]);
                let time = times.collect::<Vec<u64>>()[who % 16];
                // To the very moment, most of the time.
                let due = naive.poll_timeout().filter(|due| what % 4 > 0 && *due > naive.now);
                lines.naive.now = due.unwrap_or(naive.now + time);
                let due = lines.line.poll_timeout().is_some_and(|at| at.0 <= lines.naive.now);
                if (due && more % 8 > 0) || more % 8 == 1 {
                    lines.timeout();
                }
                None
            }
            7..=17 => {
                let call = CallId((1 + callers.len() as u128).to_be_bytes());
                let number = if more % 32 == 2 { who } else { 2 * callers.len() };
                callers.push(Party::Caller(call));
                let name = Name::new(format!("caller {}", callers.len())).unwrap();
                Some(Input::Join { call, ticket: ticket(number), name })
            }
            18..=22 if operators.len() < 6 || what % 8 == 0 => {
                let operator = OperatorId(1 + operators.len() as u64);
                let number = if more % 32 == 2 { who } else { 2 * operators.len() + 1 };
                operators.push(Party::Operator(operator));
                let name = Name::new(format!("operator {}", operators.len())).unwrap();
                let by_itself = who % 2 == 0;
                let answering = if by_itself { Answering::ByItself } else { Answering::ByHand };
                Some(Input::SignOn { operator, ticket: ticket(number), name, answering })
            }
            18..=28 => either.map(|from| {
                let call = call_for(from);
                let side = naive.own(from).0;
                let next = naive.call(call).map_or(1, |call| call.nonces[side as usize]);
                let nonce =
                    Nonce(if more % 8 == 2 { (next + throw % 6).saturating_sub(3) } else { next });
                let text = Text::new("hello").unwrap();
                Input::Ask { from, request: Request::Say { call, nonce, text } }
            }),
            29..=32 => ask(either, |call| Request::HangUp { call }),
            33 => ask(either, |call| Request::Typing { call }),
            34..=41 => ask(either, |call| Request::EndSeen { call }),
            42..=47 => ask(operator, |_| Request::Next),
            48..=50 => ask(operator, |call| Request::Answer { call }),
            51 | 52 => ask(operator, |_| Request::Ready),
            53 => ask(operator, |_| Request::Pause),
            54 | 55 => ask(operator, |_| Request::SignOff),
            56 => one_of(caller, pick(&callers, false)).map(|party| {
                let by = [By::Operator, By::Server][what % 2];
                Input::Bar { call: call_for(party), by }
            }),
            57 => match one_of(operator, pick(&operators, false)) {
                Some(Party::Operator(id)) if more % 4 == 0 => {
                    let why = [Expulsion::Account, Expulsion::Address][what % 2];
                    Some(Input::Expel(id, why))
                }
                _ => None,
            },
            58 => ask(caller, |call| Request::Answer { call }),
            59 => {
                let requests: [fn(CallId) -> Request; 4] = [
                    |_| Request::Next,
                    |_| Request::Ready,
                    |_| Request::Pause,
                    |_| Request::SignOff,
                ];
                ask(caller, requests[what % 4])
            }
            60..=65 => either.map(Input::Away),
            66..=71 => absent.map(Input::Back),
            72 => either.map(Input::Back),
            73 => absent.map(Input::Away),
            74 => ask(absent, |call| Request::HangUp { call }),
            75 => {
                assert_eq!(lines.line.holder(ticket(what)), naive.holder(ticket(what)));
                None
            }
            76 if more % 4 == 0 => Some(Input::Stop),
            77 if more % 8 == 0 => Some(Input::End),
            78 if more % 4 == 0 => {
                lines.restart();
                None
            }
            _ => {
                if let Some(party) = either {
                    lines.retell(party);
                }
                None
            }
        };
        if let Some(input) = input {
            lines.step(input);
        }
    }
}

/// As many games as said, whatever the environment says: the claim is about this many.
fn games(cases: u32, mood: Mood, longest: usize, most_places: u32) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let game = (0..=most_places, any::<u8>(), vec(any::<u32>(), 0..=longest));
    let result = TestRunner::new(config).run(&game, |(places, graces, dice)| {
        let of = |times: [Duration; 4], shift: u8| times[usize::from(graces >> shift) % 4];
        let seconds = Duration::from_secs;
        let rules = Rules {
            places,
            waiting_grace: of([seconds(0), seconds(15), seconds(20), limits::WAITING_GRACE], 0),
            call_grace: of([seconds(10), seconds(40), seconds(60), limits::CALL_GRACE], 2),
            operator_grace: of([seconds(0), seconds(10), limits::OPERATOR_GRACE, seconds(90)], 4),
        };
        play(mood, rules, &dice);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn the_line_does_what_the_model_says_in_short_games() {
    games(52_000, Mood::Mixed, 60, 4);
}

#[test]
fn the_line_does_what_the_model_says_when_connections_break() {
    games(52_000, Mood::Shaky, 60, 3);
}

#[test]
fn the_line_does_what_the_model_says_in_long_games() {
    games(50, Mood::Mixed, 2_000, 8);
    games(50, Mood::Shaky, 2_000, 8);
}

#[test]
fn the_line_does_what_the_model_says_when_a_crowd_waits() {
    games(100, Mood::Crowded, 1_000, 150);
}
