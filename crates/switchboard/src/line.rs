//! The line: what happens to it, and what follows from that.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use helpline_proto::{
    ids::{Answering, By, CallId, Seq, Side},
    limits,
    text::Name,
    time::Moment,
};

use crate::{
    Dismissal, Effect, Hearers, Input, Item, Notice, Now, OperatorId, Party, QueueNumber, Record,
    Refusal, TicketHash, Why,
    board::Rhythm,
    call::{Answer, Call, State},
    queue::Queue,
    roster::Roster,
    wait::Pace,
};

mod ask;
mod tell;

/// What the owner of a line decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How many may wait. Calls that are put back may exceed it.
    pub places: u32,
}

/// Decides who waits, who talks to whom, and what is recorded.
///
/// Inputs go into [`handle`](Self::handle), and when [`poll_timeout`](Self::poll_timeout) says so,
/// [`handle_timeout`](Self::handle_timeout) is called; what follows is appended to the effects. The same inputs
/// always have the same effects. An input from somebody who is no longer there does nothing: it crossed
/// their dismissal.
#[derive(Debug)]
pub struct Switchboard {
    rules: Rules,
    stopping: bool,
    next_number: QueueNumber,
    /// Every call that somebody may still ask something about.
    calls: BTreeMap<CallId, Call>,
    queue: Queue,
    roster: Roster,
    /// Calls that are connected, by order of answer.
    talks: BTreeMap<u64, CallId>,
    answers: u64,
    /// By when the end of which call has to be seen.
    ends: BTreeSet<(Moment, CallId)>,
    pace: Pace,
    rhythm: Rhythm,
}

impl Switchboard {
    /// An open line without anybody on it, whose first call gets this queue number.
    #[must_use]
    pub fn new(rules: Rules, next_number: QueueNumber) -> Self {
        Self {
            rules,
            stopping: false,
            next_number,
            calls: BTreeMap::new(),
            queue: Queue::default(),
            roster: Roster::default(),
            talks: BTreeMap::new(),
            answers: 0,
            ends: BTreeSet::new(),
            pace: Pace::default(),
            rhythm: Rhythm::default(),
        }
    }

    /// Takes in what happens, and appends what follows.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let changes = self.rhythm.changes();
        match input {
            Input::Join { call, ticket, name } => self.join(now, call, ticket, name, effects),
            Input::SignOn { operator, ticket, name, answering } => {
                self.sign_on(now, operator, ticket, (name, answering), effects);
            }
            Input::Ask { from, request } => {
                if let Err(refusal) = self.ask(now, from, request, effects) {
                    effects.push(Effect::Refuse(refusal));
                }
            }
            Input::Gone(Party::Caller(call)) => self.caller_gone(now, call, effects),
            Input::Gone(Party::Operator(operator)) => self.operator_gone(now, operator, effects),
            Input::Stop => self.stop(now, effects),
            Input::End => self.end(now, effects),
        }
        self.settle(now, effects);
        // A change of before that has become due is left to the timer: it isn't this input's.
        if self.rhythm.changes() != changes {
            self.tell_board_if_due(now, effects);
        }
    }

    /// Does what is due, and appends what follows.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some((until, id)) = self.ends.first().copied()
            && until <= now.moment
        {
            self.ends.remove(&(until, id));
            self.end_not_seen(now, id, effects);
        }
        self.settle(now, effects);
        self.tell_board_if_due(now, effects);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do, unless inputs come before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let end = self.ends.first().map(|(until, _)| *until);
        let board = self.rhythm.due().filter(|_| !self.roster.is_empty());
        end.into_iter().chain(board).min()
    }

    /// Tells a party its present state again, for when notices to it were dropped: a caller their place or
    /// that they talk; an operator the call they talk on, what stands offered, and the board.
    ///
    /// Entries are not told again: they are in the store.
    pub fn restate(&self, party: Party, effects: &mut Vec<Effect>) {
        match party {
            Party::Caller(id) => {
                let Some(call) = self.calls.get(&id) else { return };
                match call.state() {
                    State::Waiting => {
                        if let Some(position) = self.queue.position(call.number) {
                            self.tell_place(id, position, effects);
                        }
                    }
                    State::Connected(answer) => {
                        self.tell_connected(id, call, Side::Caller, answer.operator, effects);
                    }
                    State::Ended(_) => {}
                }
            }
            Party::Operator(id) => {
                let Some(operator) = self.roster.operator(id) else { return };
                if let Some((call_id, call)) =
                    operator.call.and_then(|call| self.calls.get_key_value(&call))
                {
                    self.tell_connected(*call_id, call, Side::Operator, id, effects);
                }
                if let Some((call, name)) = self.roster.offered_to(id) {
                    let name = name.clone();
                    let waiting = self.queue.len();
                    effects.push(Effect::Tell {
                        to: party,
                        notice: Notice::Offer { call, name, waiting },
                    });
                }
                effects.push(Effect::Tell { to: party, notice: Notice::Board(self.board()) });
            }
        }
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.queue.len()
    }

    /// How many calls are connected.
    #[must_use]
    pub fn talking(&self) -> u32 {
        count(self.talks.len())
    }

    /// How many calls are known: waiting, connected, or ended with somebody left to see it.
    #[must_use]
    pub fn calls(&self) -> u32 {
        count(self.calls.len())
    }

    /// How many operators are signed on.
    #[must_use]
    pub fn operators(&self) -> u32 {
        self.roster.len()
    }

    /// The number of a known call's last entry.
    #[must_use]
    pub fn last_seq(&self, call: CallId) -> Option<Seq> {
        self.calls.get(&call).map(Call::last_seq)
    }

    /// The call that occupies an operator: connected, or ended and not seen yet.
    #[must_use]
    pub fn call_of(&self, operator: OperatorId) -> Option<CallId> {
        self.roster.operator(operator)?.call
    }
}

/// Coming and going.
impl Switchboard {
    fn join(
        &mut self,
        now: Now,
        id: CallId,
        ticket: TicketHash,
        name: Name,
        effects: &mut Vec<Effect>,
    ) {
        if self.calls.contains_key(&id) {
            // Ids are fresh, so this is nobody.
            return;
        }
        if self.stopping {
            effects.push(Effect::Refuse(Refusal::Closed));
            return;
        }
        if self.queue.len() >= self.rules.places {
            effects.push(Effect::Record(Record::Refused));
            let wait = self.wait(self.queue.len().saturating_add(1));
            effects.push(Effect::Refuse(Refusal::Busy { wait }));
            return;
        }
        let number = self.next_number;
        // At a million calls a second this is good for half a million years.
        self.next_number = QueueNumber(number.0.saturating_add(1));
        let at = now.at;
        effects.push(Effect::Record(Record::Opened {
            call: id,
            number,
            ticket,
            name: name.clone(),
            at,
        }));
        let notice = Notice::Admitted { name: name.clone() };
        effects.push(Effect::Tell { to: Party::Caller(id), notice });
        self.calls.insert(id, Call::new(name, number, at));
        let position = self.queue.push(number, id);
        self.rhythm.change();
        // With an operator free to answer at once, there is no place to tell: settling connects them.
        if self.roster.longest_free().is_none() {
            self.tell_place(id, position, effects);
            self.joined(now, id, effects);
        }
    }

    /// Records that the caller joined: the first entry.
    fn joined(&mut self, now: Now, id: CallId, effects: &mut Vec<Effect>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let hearers = call.hearers();
        let item = Item::Joined { from: Side::Caller, name: call.name.clone() };
        effects.push(Effect::Entry { call: id, entry: call.record(now.at, item), hearers });
    }

    fn sign_on(
        &mut self,
        now: Now,
        id: OperatorId,
        ticket: TicketHash,
        (name, answering): (Name, Answering),
        effects: &mut Vec<Effect>,
    ) {
        if self.roster.operator(id).is_some() {
            // Ids are fresh, so this is nobody.
            return;
        }
        let record = Record::SignedOn { operator: id, ticket, name: name.clone(), at: now.at };
        effects.push(Effect::Record(record));
        let notice = Notice::Admitted { name: name.clone() };
        effects.push(Effect::Tell { to: Party::Operator(id), notice });
        let notice = Notice::Board(self.board());
        effects.push(Effect::Tell { to: Party::Operator(id), notice });
        // Unless others still wait for a changed board, everybody knows it now.
        if self.rhythm.due().is_none() || self.roster.is_empty() {
            self.rhythm.told(now.moment);
        }
        self.roster.sign_on(id, name, answering);
    }

    fn caller_gone(&mut self, now: Now, id: CallId, effects: &mut Vec<Effect>) {
        let Some(call) = self.calls.get(&id).filter(|call| call.has_caller()) else { return };
        if !matches!(call.state(), State::Ended(_)) {
            self.end_call(now, id, By::Caller, Why::Lost, effects);
        }
        self.dismiss_caller(id, effects);
    }

    fn operator_gone(&mut self, now: Now, id: OperatorId, effects: &mut Vec<Effect>) {
        let Some(operator) = self.roster.sign_off(id) else { return };
        if let Some(call) = operator.call {
            if self.is_connected(call) {
                self.end_call(now, call, By::Operator, Why::Lost, effects);
            }
            self.done(call, Side::Operator);
        }
        self.dismiss_operator(now, id, Dismissal::Done, effects);
    }

    fn sign_off(&mut self, now: Now, id: OperatorId, effects: &mut Vec<Effect>) {
        let Some(operator) = self.roster.sign_off(id) else { return };
        if let Some(call) = operator.call {
            if self.is_connected(call) {
                self.put_back(now, call, operator.name, effects);
            }
            self.done(call, Side::Operator);
        }
        self.dismiss_operator(now, id, Dismissal::Done, effects);
    }

    fn stop(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.stopping = true;
        let waiting: Vec<CallId> = self.queue.iter().collect();
        for call in waiting {
            self.end_call(now, call, By::Server, Why::Stopping, effects);
        }
    }

    fn end(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.stop(now, effects);
        let talks: Vec<CallId> = self.talks.values().copied().collect();
        for call in talks {
            self.end_call(now, call, By::Server, Why::Stopping, effects);
        }
        let operators: Vec<OperatorId> = self.roster.ids().collect();
        for id in operators {
            self.roster.sign_off(id);
            self.dismiss_operator(now, id, Dismissal::Stopped, effects);
        }
        self.ends.clear();
        for (id, call) in mem::take(&mut self.calls) {
            if call.has_caller() {
                let party = Party::Caller(id);
                effects.push(Effect::Dismiss { party, why: Dismissal::Stopped });
            }
        }
    }
}

/// What becomes of calls.
impl Switchboard {
    /// Gives the first in line to whoever answers by themselves, and shows who is first then to the others.
    ///
    /// On a line that stops nobody waits, so there is nobody to give or to show.
    fn settle(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some(operator) = self.roster.longest_free()
            && let Some(first) = self.queue.first()
        {
            self.connect(now, first, operator, effects);
        }
        let first = self.queue.first().and_then(|id| Some((id, &self.calls.get(&id)?.name)));
        self.roster.offer(first, self.queue.len(), effects);
    }

    fn is_connected(&self, id: CallId) -> bool {
        self.calls.get(&id).and_then(Call::answer).is_some()
    }

    /// Connects a waiting call with a free operator.
    fn connect(&mut self, now: Now, id: CallId, operator: OperatorId, effects: &mut Vec<Effect>) {
        self.roster.occupy(operator, id);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(name) = self.roster.operator(operator).map(|operator| operator.name.clone())
        else {
            return;
        };
        self.answers += 1;
        call.connect(Answer { operator, order: self.answers, now });
        self.talks.insert(self.answers, id);
        let position = self.queue.hold(call.number);
        self.rhythm.change();

        effects.push(Effect::Record(Record::Answered { call: id, operator, at: now.at }));
        if let Some(call) = self.calls.get(&id) {
            self.tell_connected(id, call, Side::Caller, operator, effects);
            self.tell_connected(id, call, Side::Operator, operator, effects);
        }
        if self.last_seq(id) == Some(Seq(0)) {
            // Answered at once: the caller joins only now.
            self.joined(now, id, effects);
        }
        if let Some(call) = self.calls.get_mut(&id) {
            let hearers = call.hearers();
            let entry = call.record(now.at, Item::Joined { from: Side::Operator, name });
            effects.push(Effect::Entry { call: id, entry, hearers });
        }
        self.tell_moved(position, effects);
    }

    /// Lets a connected call wait again, where it was before: its operator, of this name, has left.
    ///
    /// On a line that stops nobody waits, so there the call ends.
    fn put_back(&mut self, now: Now, id: CallId, name: Name, effects: &mut Vec<Effect>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(answer) = call.answer() else { return };
        let hearers = call.hearers();
        let entry = call.record(now.at, Item::Left { from: Side::Operator, name });
        effects.push(Effect::Entry { call: id, entry, hearers });
        call.put_back();
        self.talks.remove(&answer.order);
        let position = self.queue.put_back(call.number);
        self.rhythm.change();
        if self.stopping {
            self.end_call(now, id, By::Server, Why::Stopping, effects);
            return;
        }
        effects.push(Effect::Record(Record::PutBack { call: id }));
        if let Some(position) = position {
            self.tell_place(id, position, effects);
            self.tell_moved(position.checked_add(1), effects);
        }
    }

    /// Ends a call that isn't over.
    fn end_call(&mut self, now: Now, id: CallId, by: By, why: Why, effects: &mut Vec<Effect>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let hearers = call.hearers();
        let until = now.moment + limits::END_SEEN;
        if let State::Connected(answer) = call.end(until) {
            self.talks.remove(&answer.order);
            self.pace.talked(now.moment.since(answer.now.moment));
        }
        self.ends.insert((until, id));
        let position = self.queue.forget(call.number);
        self.rhythm.change();
        effects.push(Effect::Record(Record::Closed { call: id, at: now.at }));
        let entry = call.record(now.at, Item::Ended { by, why });
        effects.push(Effect::Entry { call: id, entry, hearers });
        self.tell_moved(position, effects);
    }

    /// Cuts everybody who has not seen the end of a call in time.
    fn end_not_seen(&mut self, now: Now, id: CallId, effects: &mut Vec<Effect>) {
        let Some(call) = self.calls.remove(&id) else { return };
        let Hearers { caller, operator } = call.hearers();
        if let Some(operator) = operator {
            self.roster.sign_off(operator);
            self.dismiss_operator(now, operator, Dismissal::EndNotSeen, effects);
        }
        if caller {
            let party = Party::Caller(id);
            effects.push(Effect::Dismiss { party, why: Dismissal::EndNotSeen });
        }
    }

    /// Takes note that a side is done with an ended call, and forgets the call when both are.
    fn done(&mut self, id: CallId, side: Side) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.done(side);
        if let State::Ended(unseen) = call.state()
            && !unseen.caller
            && unseen.operator.is_none()
        {
            self.ends.remove(&(unseen.until, id));
            self.calls.remove(&id);
        }
    }

    fn dismiss_caller(&mut self, id: CallId, effects: &mut Vec<Effect>) {
        let party = Party::Caller(id);
        effects.push(Effect::Dismiss { party, why: Dismissal::Done });
        self.done(id, Side::Caller);
    }

    fn dismiss_operator(
        &self,
        now: Now,
        operator: OperatorId,
        why: Dismissal,
        effects: &mut Vec<Effect>,
    ) {
        effects.push(Effect::Record(Record::SignedOff { operator, at: now.at }));
        effects.push(Effect::Dismiss { party: Party::Operator(operator), why });
    }
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}
