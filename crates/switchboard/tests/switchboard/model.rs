//! Random inputs, held against a model that is too simple to be wrong.
//!
//! The model keeps lists and walks them. It foresees what an input must do (which refusal, which calls end and
//! how, who is dismissed), checks each effect against the state at that point, and the whole state after each step.

use std::collections::{BTreeMap, BTreeSet};

use helpline_proto::{
    ids::{Answering, By, CallId, Nonce, Seq, Side},
    text::{Name, Text},
    time::{Moment, UnixMillis},
};
use helpline_switchboard::{
    Board, Dismissal, Effect, Hearers, Input, Item, Notice, Now, OperatorId, Party, QueueNumber,
    Record, Refusal, Request, Rules, Switchboard, TicketHash, Wait, Why,
};
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, TestRunner},
};

const TOLD: [u32; 18] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 24, 32, 48, 64, 96, 128];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Talking,
    Ended { at: u64 },
}

#[derive(Debug)]
struct Call {
    number: QueueNumber,
    name: Name,
    state: State,
    /// The operator who talks, or has not seen the end.
    operator: Option<OperatorId>,
    /// The caller is there: talks, waits, or has not seen the end.
    caller: bool,
    seq: u32,
    nonces: [u32; 2],
    /// When, and as the how many-eth answer.
    answered_at: u64,
    answered: u64,
}

#[derive(Debug)]
struct Operator {
    name: Name,
    answering: Answering,
    available: bool,
    call: Option<CallId>,
    free_since: u64,
    offered: Option<CallId>,
    boards: Vec<(u64, Board)>,
}

impl Operator {
    fn ready(&self) -> bool {
        self.available && self.call.is_none()
    }
}

/// What an input must lead to.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    refusal: Option<Refusal>,
    opened: Vec<CallId>,
    said: Vec<(CallId, Side)>,
    typed: Vec<Party>,
    ended: BTreeMap<CallId, (By, Why)>,
    put_back: Vec<CallId>,
    signed_on: Vec<OperatorId>,
    signed_off: BTreeSet<OperatorId>,
    dismissed: BTreeMap<Party, Dismissal>,
}

struct Model {
    line: Switchboard,
    places: usize,
    now: u64,
    steps: u64,
    stopping: bool,
    calls: BTreeMap<CallId, Call>,
    operators: BTreeMap<OperatorId, Operator>,
    dismissed: BTreeSet<Party>,
    last_number: Option<QueueNumber>,
    talks: Vec<u64>,
    answers: u64,
}

impl Model {
    fn new(places: u32) -> Self {
        Self {
            line: Switchboard::new(Rules { places }, QueueNumber(1)),
            places: usize::try_from(places).unwrap(),
            now: 0,
            steps: 0,
            stopping: false,
            calls: BTreeMap::new(),
            operators: BTreeMap::new(),
            dismissed: BTreeSet::new(),
            last_number: None,
            talks: Vec::new(),
            answers: 0,
        }
    }

    fn now(&self) -> Now {
        Now { moment: Moment(self.now), at: UnixMillis(1_000 + i64::try_from(self.now).unwrap()) }
    }

    /// Those who wait, first come first.
    fn queue(&self) -> Vec<CallId> {
        let waiting = self.calls.iter().filter(|(_, call)| call.state == State::Waiting);
        let mut queue: Vec<_> = waiting.map(|(id, call)| (call.number, *id)).collect();
        queue.sort();
        queue.into_iter().map(|(_, id)| id).collect()
    }

    fn wait(&self, position: usize) -> Option<Wait> {
        let operators = self.operators.len();
        if self.talks.len() < 3 || operators == 0 {
            return None;
        }
        let mut last: Vec<u64> = self.talks.iter().rev().take(32).copied().collect();
        last.sort_unstable();
        let (q1, q3) = (last[last.len().div_ceil(4) - 1], last[(3 * last.len()).div_ceil(4) - 1]);
        let rounds = u64::try_from(position.div_ceil(operators)).unwrap();
        let seconds = |millis: u64| u32::try_from(millis.div_ceil(1000)).unwrap();
        Some(Wait { low: seconds((rounds - 1) * q1), high: seconds(rounds * q3) })
    }

    fn board(&self) -> Board {
        let queue = self.queue();
        let first = queue.iter().take(20).map(|id| helpline_switchboard::Waiter {
            call: *id,
            name: self.calls[id].name.clone(),
            since: UnixMillis(0),
        });
        let mut talking: Vec<_> =
            self.calls.iter().filter(|(_, call)| call.state == State::Talking).collect();
        talking.sort_by_key(|(_, call)| call.answered);
        let talking = talking.into_iter().take(100).map(|(id, call)| helpline_switchboard::Talk {
            call: *id,
            name: call.name.clone(),
            operator: self.operators[&call.operator.unwrap()].name.clone(),
            since: UnixMillis(0),
        });
        Board {
            waiting: u32::try_from(queue.len()).unwrap(),
            first: first.collect(),
            talking: talking.collect(),
        }
    }

    fn here(&self, party: Party) -> bool {
        match party {
            Party::Caller(id) => self.calls.get(&id).is_some_and(|call| call.caller),
            Party::Operator(id) => self.operators.contains_key(&id),
        }
    }

    /// Foresees what must come of an input, and of which refusal.
    fn foresee(&self, input: &Input) -> Outcome {
        let mut outcome = Outcome::default();
        match input {
            Input::Join { call, .. } => {
                if self.stopping {
                    outcome.refusal = Some(Refusal::Closed);
                } else if self.queue().len() >= self.places {
                    let wait = self.wait(self.queue().len() + 1);
                    outcome.refusal = Some(Refusal::Busy { wait });
                } else {
                    outcome.opened.push(*call);
                }
            }
            Input::SignOn { operator, .. } => outcome.signed_on.push(*operator),
            Input::Gone(party) if self.here(*party) => match *party {
                Party::Caller(id) => {
                    if !matches!(self.calls[&id].state, State::Ended { .. }) {
                        outcome.ended.insert(id, (By::Caller, Why::Lost));
                    }
                    outcome.dismissed.insert(*party, Dismissal::Done);
                }
                Party::Operator(id) => {
                    if let Some(call) = self.operators[&id].call
                        && self.calls[&call].state == State::Talking
                    {
                        outcome.ended.insert(call, (By::Operator, Why::Lost));
                    }
                    outcome.signed_off.insert(id);
                    outcome.dismissed.insert(*party, Dismissal::Done);
                }
            },
            Input::Stop => {
                for id in self.queue() {
                    outcome.ended.insert(id, (By::Server, Why::Stopping));
                }
            }
            Input::End => {
                for (id, call) in &self.calls {
                    if !matches!(call.state, State::Ended { .. }) {
                        outcome.ended.insert(*id, (By::Server, Why::Stopping));
                    }
                    if call.caller {
                        outcome.dismissed.insert(Party::Caller(*id), Dismissal::Stopped);
                    }
                }
                for id in self.operators.keys() {
                    outcome.signed_off.insert(*id);
                    outcome.dismissed.insert(Party::Operator(*id), Dismissal::Stopped);
                }
            }
            Input::Ask { from, request } if self.here(*from) => {
                outcome.refusal = self.foresee_request(*from, request, &mut outcome).err();
            }
            Input::Gone(_) | Input::Ask { .. } => {}
        }
        outcome
    }

    fn foresee_request(
        &self,
        from: Party,
        request: &Request,
        outcome: &mut Outcome,
    ) -> Result<(), Refusal> {
        let (side, own) = match from {
            Party::Caller(id) => (Side::Caller, Some(id)),
            Party::Operator(id) => (Side::Operator, self.operators[&id].call),
        };
        if let Request::Say { call, .. }
        | Request::HangUp { call }
        | Request::Typing { call }
        | Request::EndSeen { call } = request
            && own != Some(*call)
        {
            return Err(Refusal::NoSuchCall);
        }
        match (from, request) {
            (_, Request::Say { call: id, nonce, .. }) => {
                let call = &self.calls[id];
                let next = Nonce(call.nonces[side as usize]);
                if matches!(call.state, State::Ended { .. }) {
                    return Err(Refusal::CallEnded);
                } else if *nonce != next {
                    return Err(Refusal::Nonce { next });
                }
                outcome.said.push((*id, side));
            }
            (_, Request::HangUp { call: id }) => {
                let why = match self.calls[id].state {
                    State::Waiting => Why::Abandoned,
                    State::Talking => Why::Bye,
                    State::Ended { .. } => return Err(Refusal::CallEnded),
                };
                outcome.ended.insert(*id, (By::from(side), why));
            }
            (_, Request::Typing { call: id }) => {
                let call = &self.calls[id];
                if call.state == State::Talking {
                    outcome.typed.push(match side {
                        Side::Caller => Party::Operator(call.operator.unwrap()),
                        Side::Operator => Party::Caller(*id),
                    });
                }
            }
            (Party::Caller(_), Request::EndSeen { call: id }) => {
                if matches!(self.calls[id].state, State::Ended { .. }) {
                    outcome.dismissed.insert(from, Dismissal::Done);
                }
            }
            (Party::Operator(_), Request::EndSeen { .. }) => {}
            (Party::Caller(_), _) => return Err(Refusal::NotAllowed),
            (Party::Operator(_), Request::Next | Request::Answer { .. }) if own.is_some() => {
                return Err(Refusal::Occupied);
            }
            (Party::Operator(_), Request::Next | Request::Answer { .. }) if self.stopping => {
                return Err(Refusal::Closed);
            }
            (Party::Operator(_), Request::Next) if self.queue().is_empty() => {
                return Err(Refusal::NobodyWaiting);
            }
            (Party::Operator(id), Request::Answer { call }) => {
                let operator = &self.operators[&id];
                let offered = operator.available
                    && operator.answering == Answering::ByHand
                    && self.queue().first() == Some(call);
                if !offered {
                    return Err(Refusal::NotOffered);
                }
            }
            (Party::Operator(_), Request::Next | Request::Ready | Request::Pause) => {}
            (Party::Operator(id), Request::SignOff) => {
                if let Some(call) = own
                    && self.calls[&call].state == State::Talking
                {
                    if self.stopping {
                        outcome.ended.insert(call, (By::Server, Why::Stopping));
                    } else {
                        outcome.put_back.push(call);
                    }
                }
                outcome.signed_off.insert(id);
                outcome.dismissed.insert(from, Dismissal::Done);
            }
        }
        Ok(())
    }

    /// Takes over what an input that isn't refused sets by itself, without a record.
    fn take_over(&mut self, input: &Input) {
        self.steps += 1;
        match input {
            Input::Stop | Input::End => self.stopping = true,
            Input::Ask { from: Party::Operator(id), request }
                if self.here(Party::Operator(*id)) =>
            {
                let operator = self.operators.get_mut(id).unwrap();
                match request {
                    Request::Ready if !operator.available => {
                        operator.available = true;
                        operator.free_since = self.steps;
                    }
                    Request::Pause => operator.available = false,
                    Request::EndSeen { call: id }
                        if matches!(self.calls[id].state, State::Ended { .. }) =>
                    {
                        operator.call = None;
                        operator.free_since = self.steps;
                        self.calls.get_mut(id).unwrap().operator = None;
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn step(&mut self, input: Input) {
        let foreseen = self.foresee(&input);
        let names = match &input {
            Input::Join { name, .. } | Input::SignOn { name, .. } => Some(name.clone()),
            _ => None,
        };
        let answering = match &input {
            Input::SignOn { answering, .. } => *answering,
            _ => Answering::ByHand,
        };
        let asker = match &input {
            Input::Ask {
                from: Party::Operator(id),
                request: Request::Next | Request::Answer { .. },
            } if foreseen.refusal.is_none() && self.operators.contains_key(id) => Some(*id),
            _ => None,
        };
        let mut effects = Vec::new();
        let before = self.queue();
        if foreseen.refusal.is_none() {
            self.take_over(&input);
        }
        self.line.handle(self.now(), input, &mut effects);
        if let Some(refusal) = foreseen.refusal {
            let mut expected = vec![Effect::Refuse(refusal)];
            if let Refusal::Busy { .. } = refusal {
                expected.insert(0, Effect::Record(Record::Refused));
            }
            assert_eq!(effects, expected, "a refusal changes nothing");
        } else {
            self.check(&foreseen, effects, &before, names, answering, asker);
        }
        self.invariants();
    }

    fn timeout(&mut self) {
        let mut foreseen = Outcome::default();
        for (id, call) in &self.calls {
            if let State::Ended { at } = call.state
                && at + 10_000 <= self.now
            {
                if call.caller {
                    foreseen.dismissed.insert(Party::Caller(*id), Dismissal::EndNotSeen);
                }
                if let Some(operator) = call.operator {
                    foreseen.dismissed.insert(Party::Operator(operator), Dismissal::EndNotSeen);
                    foreseen.signed_off.insert(operator);
                }
            }
        }
        let before = self.queue();
        let mut effects = Vec::new();
        self.line.handle_timeout(self.now(), &mut effects);
        self.check(&foreseen, effects, &before, None, Answering::ByHand, None);
        self.invariants();
        assert!(self.line.poll_timeout().is_none_or(|at| at.0 > self.now), "the timer spins");
    }

    /// Checks each effect against the state at that point, and all of them against what was foreseen.
    fn check(
        &mut self,
        foreseen: &Outcome,
        effects: Vec<Effect>,
        before: &[CallId],
        name: Option<Name>,
        answering: Answering,
        mut asker: Option<OperatorId>,
    ) {
        let mut seen = Outcome::default();
        let mut placed = BTreeMap::new();
        let mut closing = BTreeSet::new();
        let mut connected = Vec::new();
        let mut board_told = false;
        for effect in effects {
            match effect {
                Effect::Refuse(refusal) => panic!("refused: {refusal:?}"),
                Effect::Record(Record::Refused) => panic!("counted as refused"),
                Effect::Record(Record::Opened { call, number, .. }) => {
                    assert!(self.queue().len() < self.places && !self.stopping);
                    assert!(self.last_number < Some(number), "numbers rise");
                    self.last_number = Some(number);
                    seen.opened.push(call);
                    let call_state = Call {
                        number,
                        name: name.clone().unwrap(),
                        state: State::Waiting,
                        operator: None,
                        caller: true,
                        seq: 0,
                        nonces: [1, 1],
                        answered_at: 0,
                        answered: 0,
                    };
                    assert!(self.calls.insert(call, call_state).is_none());
                }
                Effect::Record(Record::Answered { call: id, operator: by, .. }) => {
                    assert_eq!(self.queue().first(), Some(&id), "first come, first served");
                    if asker != Some(by) {
                        let longest = self
                            .operators
                            .iter()
                            .filter(|(_, o)| o.ready() && o.answering == Answering::ByItself)
                            .min_by_key(|(_, o)| o.free_since);
                        assert_eq!(longest.map(|(id, _)| *id), Some(by), "the longest free");
                    }
                    if asker == Some(by) {
                        asker = None;
                    }
                    assert!(!self.stopping);
                    let operator = self.operators.get_mut(&by).unwrap();
                    assert_eq!(operator.call.replace(id), None, "one call an operator");
                    operator.offered = None;
                    self.answers += 1;
                    let call = self.calls.get_mut(&id).unwrap();
                    call.state = State::Talking;
                    call.answered_at = self.now;
                    assert_eq!(call.operator.replace(by), None, "one operator a caller");
                    call.answered = self.answers;
                    connected.push(Party::Caller(id));
                    connected.push(Party::Operator(by));
                }
                Effect::Record(Record::PutBack { call: id }) => {
                    seen.put_back.push(id);
                    let call = self.calls.get_mut(&id).unwrap();
                    assert_eq!(call.state, State::Talking);
                    call.state = State::Waiting;
                    let by = call.operator.take().unwrap();
                    self.operators.remove(&by).unwrap();
                }
                Effect::Record(Record::Closed { call, .. }) => {
                    let state = self.calls[&call].state;
                    assert!(!matches!(state, State::Ended { .. }), "ends once");
                    closing.insert(call);
                }
                Effect::Record(Record::SignedOn { operator, .. }) => {
                    seen.signed_on.push(operator);
                    let new = Operator {
                        name: name.clone().unwrap(),
                        answering,
                        available: true,
                        call: None,
                        free_since: self.steps,
                        offered: None,
                        boards: Vec::new(),
                    };
                    assert!(self.operators.insert(operator, new).is_none());
                }
                Effect::Record(Record::SignedOff { operator, .. }) => {
                    seen.signed_off.insert(operator);
                }
                Effect::Entry { call: id, entry, hearers } => {
                    let call = self.calls.get_mut(&id).unwrap();
                    assert!(!matches!(call.state, State::Ended { .. }), "nothing after the end");
                    call.seq += 1;
                    assert_eq!(entry.seq, Seq(call.seq), "dense from 1");
                    assert_eq!(hearers, Hearers { caller: call.caller, operator: call.operator });
                    match entry.item {
                        Item::Said { from, nonce, .. } => {
                            assert_eq!(nonce, Nonce(call.nonces[from as usize]));
                            call.nonces[from as usize] += 1;
                            seen.said.push((id, from));
                        }
                        Item::Joined { from: Side::Caller, .. } => assert_eq!(call.seq, 1),
                        Item::Joined { from: Side::Operator, .. } => {
                            assert_eq!(call.state, State::Talking);
                        }
                        Item::Left { from, .. } => {
                            assert_eq!((call.state, from), (State::Talking, Side::Operator));
                            if self.stopping {
                                // Not put back but ended, without the one who left.
                                let by = call.operator.take().unwrap();
                                self.operators.remove(&by).unwrap();
                            }
                        }
                        Item::Ended { by, why } => {
                            assert!(closing.remove(&id), "closed, then ended");
                            seen.ended.insert(id, (by, why));
                            if call.state == State::Talking {
                                self.talks.push(self.now - call.answered_at);
                            }
                            call.state = State::Ended { at: self.now };
                        }
                    }
                }
                Effect::Tell { to, notice } => {
                    assert!(!self.dismissed.contains(&to), "{to:?} is dismissed: {notice:?}");
                    match (to, notice) {
                        (_, Notice::Admitted { name: told }) => {
                            assert_eq!(Some(&told), name.as_ref())
                        }
                        (
                            Party::Caller(to),
                            Notice::Place { call, position, waiting, wait, next_nonce },
                        ) => {
                            assert_eq!(to, call);
                            // The records of an end come before its entry; the places come after both.
                            let queue = self.queue();
                            let at = usize::try_from(position).unwrap() - 1;
                            assert_eq!(queue.get(at), Some(&call), "a true position");
                            assert_eq!(usize::try_from(waiting).unwrap(), queue.len());
                            assert_eq!(wait, self.wait(at + 1));
                            assert_eq!(next_nonce, Nonce(self.calls[&call].nonces[0]));
                            assert_eq!(placed.insert(call, position), None, "told once a step");
                        }
                        (to, Notice::Connected { call: id, peer, next_nonce }) => {
                            let call = &self.calls[&id];
                            assert_eq!(call.state, State::Talking);
                            assert_eq!(connected.remove(0), to, "the caller, then the operator");
                            let operator = call.operator.unwrap();
                            if to == Party::Caller(id) {
                                assert_eq!(peer, self.operators[&operator].name);
                                assert_eq!(next_nonce, Nonce(call.nonces[0]));
                            } else {
                                assert_eq!(to, Party::Operator(operator));
                                assert_eq!(peer, call.name);
                                assert_eq!(next_nonce, Nonce(call.nonces[1]));
                            }
                        }
                        (_, Notice::Typing { call, from }) => {
                            assert_eq!(self.calls[&call].state, State::Talking);
                            assert_eq!(from == Side::Operator, to == Party::Caller(call));
                            seen.typed.push(to);
                        }
                        (Party::Operator(to), Notice::Offer { call, name, waiting }) => {
                            let operator = self.operators.get_mut(&to).unwrap();
                            assert_eq!(operator.offered.replace(call), None, "withdrawn before");
                            assert_eq!(name, self.calls[&call].name);
                            assert_eq!(usize::try_from(waiting).unwrap(), self.queue().len());
                        }
                        (Party::Operator(to), Notice::Withdrawn { call, waiting, .. }) => {
                            let operator = self.operators.get_mut(&to).unwrap();
                            assert_eq!(operator.offered.take(), Some(call), "offered before");
                            assert_eq!(usize::try_from(waiting).unwrap(), self.queue().len());
                        }
                        (Party::Operator(to), Notice::Board(mut board)) => {
                            for waiter in &mut board.first {
                                waiter.since = UnixMillis(0);
                            }
                            for talk in &mut board.talking {
                                talk.since = UnixMillis(0);
                            }
                            assert_eq!(board, self.board(), "a true board");
                            board_told |= seen.signed_on != [to];
                            self.operators.get_mut(&to).unwrap().boards.push((self.now, board));
                        }
                        (to, notice) => panic!("{to:?} was told {notice:?}"),
                    }
                }
                Effect::Dismiss { party, why } => {
                    assert!(self.dismissed.insert(party), "dismissed once");
                    seen.dismissed.insert(party, why);
                    match party {
                        Party::Caller(id) => self.calls.get_mut(&id).unwrap().caller = false,
                        Party::Operator(id) => {
                            self.operators.remove(&id);
                            for call in self.calls.values_mut() {
                                if call.operator == Some(id) {
                                    call.operator = None;
                                }
                            }
                        }
                    }
                }
            }
        }
        assert_eq!(&seen, foreseen);
        assert!(connected.is_empty() && closing.is_empty() && asker.is_none());
        for id in &foreseen.opened {
            let waits = self.calls[id].state == State::Waiting;
            assert_eq!(placed.contains_key(id), waits, "no place for who is answered at once");
        }
        if board_told {
            for operator in self.operators.values() {
                assert_eq!(operator.boards.last().map(|(at, _)| *at), Some(self.now), "to all");
            }
        }
        for (at, id) in self.queue().iter().enumerate() {
            let position = u32::try_from(at + 1).unwrap();
            let was = before.iter().position(|other| other == id).map(|at| at + 1);
            let due = match was {
                None => true,
                Some(was) => was != at + 1 && TOLD.contains(&position),
            };
            assert_eq!(placed.get(id), due.then_some(&position), "told, but no more than that");
        }
    }

    /// Checks the whole state.
    fn invariants(&mut self) {
        let over = |call: &Call| {
            matches!(call.state, State::Ended { .. }) && !call.caller && call.operator.is_none()
        };
        self.calls.retain(|_, call| !over(call));
        let queue = self.queue();
        let first = queue.first().copied();
        let board = self.board();
        assert!(!self.stopping || queue.is_empty(), "nobody waits on a line that stops");
        for (id, operator) in &self.operators {
            let free = operator.ready() && !self.stopping;
            match operator.answering {
                Answering::ByItself => {
                    assert!(!free || first.is_none(), "somebody waits, somebody is free");
                    assert_eq!(operator.offered, None);
                }
                Answering::ByHand => assert_eq!(operator.offered, first.filter(|_| free), "offers"),
            }
            assert_eq!(self.line.call_of(*id), operator.call);
            for pair in operator.boards.windows(2).skip(1) {
                assert!(pair[1].0 - pair[0].0 >= 1000, "at most one board a second");
            }
            let (_, told) = operator.boards.last().unwrap();
            if *told != board {
                let due = self.line.poll_timeout().expect("a board to be told");
                assert!(due.0 <= self.now + 1000);
            }
        }
        for (id, call) in &self.calls {
            assert_eq!(self.line.last_seq(*id), Some(Seq(call.seq)));
            if let State::Ended { at } = call.state {
                let due = self.line.poll_timeout().expect("an end to be seen");
                assert!(due.0 <= at + 10_000);
            }
        }
        let ended = |call: &Call| matches!(call.state, State::Ended { .. });
        if self.operators.is_empty() && !self.calls.values().any(ended) {
            assert_eq!(self.line.poll_timeout(), None, "nothing to wait for");
        }
        let talking = self.calls.values().filter(|call| call.state == State::Talking).count();
        assert_eq!(usize::try_from(self.line.waiting()).unwrap(), queue.len());
        assert_eq!(usize::try_from(self.line.talking()).unwrap(), talking);
        assert_eq!(usize::try_from(self.line.calls()).unwrap(), self.calls.len());
        assert_eq!(usize::try_from(self.line.operators()).unwrap(), self.operators.len());
    }
}

/// What a party's present state is, told again.
fn restated(model: &Model, party: Party) {
    let mut effects = Vec::new();
    model.line.restate(party, &mut effects);
    let mut kinds = String::new();
    for effect in effects {
        let Effect::Tell { to, notice } = effect else { panic!("{effect:?}") };
        assert_eq!(to, party);
        kinds.push(match notice {
            Notice::Place { .. } => 'p',
            Notice::Connected { .. } => 'c',
            Notice::Offer { .. } => 'o',
            Notice::Board(_) => 'b',
            notice => panic!("{notice:?}"),
        });
    }
    let expected = match party {
        Party::Caller(id) => match model.calls.get(&id).map(|call| call.state) {
            Some(State::Waiting) => "p",
            Some(State::Talking) => "c",
            Some(State::Ended { .. }) | None => "",
        },
        Party::Operator(id) => match model.operators.get(&id) {
            Some(operator) if operator.offered.is_some() => "ob",
            Some(operator) if operator.call.is_some() => "cb",
            Some(_) => "b",
            None => "",
        },
    };
    assert_eq!(kinds, expected);
}

/// How the dice fall.
#[derive(Clone, Copy)]
enum Mood {
    /// Everything happens about as often.
    Mixed,
    /// A crowd waits.
    Crowded,
}

/// Plays a game: every number is one step.
fn play(mood: Mood, places: u32, dice: &[u32]) {
    let mut model = Model::new(places);
    let (mut callers, mut operators) = (Vec::new(), Vec::new());
    for throw in dice {
        let [kind, who, what, more] = throw.to_le_bytes().map(usize::from);
        let pick = |live: Vec<Party>, all: &[Party]| {
            let from = if live.is_empty() || more % 16 == 0 { all } else { &live };
            (!from.is_empty()).then(|| from[who % from.len()])
        };
        let live = |all: &[Party]| -> Vec<Party> {
            all.iter().copied().filter(|party| model.here(*party)).collect()
        };
        let caller = pick(live(&callers), &callers);
        let operator = pick(live(&operators), &operators);
        let either = if what % 2 == 0 { caller.or(operator) } else { operator.or(caller) };
        // Mostly the party's own call, sometimes another's.
        let call_of = |party: Party| match party {
            _ if more % 16 == 1 => None,
            Party::Caller(id) => Some(id),
            Party::Operator(id) => {
                let operator = model.operators.get(&id)?;
                operator.call.or(operator.offered)
            }
        };
        let call_for = |party: Party| {
            call_of(party).unwrap_or_else(|| {
                let Some(Party::Caller(id)) = callers.get(what % callers.len().max(1)) else {
                    return CallId([0; 16]);
                };
                *id
            })
        };
        let kind = match mood {
            Mood::Mixed => kind % 64,
            Mood::Crowded if kind < 64 => 8,
            Mood::Crowded => kind % 60,
        };
        let ask = |from: Option<Party>, request: fn(CallId) -> Request| {
            from.map(|from| Input::Ask { from, request: request(call_for(from)) })
        };
        let input = match kind {
            0 => None,
            1..=6 => {
                model.now += [0, 1, 400, 999, 1_000, 2_500, 10_000, 60_000][who % 8];
                if model.line.poll_timeout().is_some_and(|at| at.0 <= model.now) || what % 8 == 0 {
                    model.timeout();
                }
                None
            }
            7..=17 => {
                let call = CallId((1 + callers.len() as u128).to_be_bytes());
                callers.push(Party::Caller(call));
                let name = Name::new(format!("caller {}", callers.len())).unwrap();
                Some(Input::Join { call, ticket: TicketHash([0; 32]), name })
            }
            18..=22 if operators.len() < 6 || what % 8 == 0 => {
                let operator = OperatorId(1 + operators.len() as u64);
                operators.push(Party::Operator(operator));
                let name = Name::new(format!("operator {}", operators.len())).unwrap();
                let by_itself = who % 2 == 0;
                let answering = if by_itself { Answering::ByItself } else { Answering::ByHand };
                Some(Input::SignOn { operator, ticket: TicketHash([0; 32]), name, answering })
            }
            18..=28 => either.map(|from| {
                let call = call_for(from);
                let side = matches!(from, Party::Operator(_)) as usize;
                let next = model.calls.get(&call).map_or(1, |call| call.nonces[side]);
                let nonce = Nonce(if more % 8 == 2 { next + throw % 5 } else { next });
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
            56 | 57 => either.map(Input::Gone),
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
            60 if more % 4 == 0 => Some(Input::Stop),
            61 if more % 16 == 0 => Some(Input::End),
            _ => {
                if let Some(party) = either {
                    restated(&model, party);
                }
                None
            }
        };
        if let Some(input) = input {
            model.step(input);
        }
    }
}

/// As many games as said, whatever the environment says: the claim is about this many.
fn games(cases: u32, mood: Mood, longest: usize, most_places: u32) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let game = (0..=most_places, vec(any::<u32>(), 0..=longest));
    let result = TestRunner::new(config).run(&game, |(places, dice)| {
        play(mood, places, &dice);
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
fn the_line_does_what_the_model_says_in_other_short_games() {
    games(52_000, Mood::Mixed, 60, 2);
}

#[test]
fn the_line_does_what_the_model_says_in_long_games() {
    games(100, Mood::Mixed, 2_000, 8);
}

#[test]
fn the_line_does_what_the_model_says_when_a_crowd_waits() {
    games(100, Mood::Crowded, 1_000, 150);
}
