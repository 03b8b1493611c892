//! What becomes of calls.

use helpline_proto::{
    ids::{By, CallId, Seq, Side},
    limits,
    planted::{Bug, has},
    text::Name,
};

use crate::{
    Effect, Item, Notice, Now, OperatorId, Party, Record, Why,
    call::{Answer, State},
    line::Switchboard,
    queue::Standing,
    timers::Timer,
};

impl Switchboard {
    /// The call that a party talks on, its side of it, and who is on the other.
    pub(super) fn talk(&self, party: Party) -> Option<(CallId, Side, Party)> {
        match party {
            Party::Caller(id) => {
                let answer = self.calls.find(id)?.answer()?;
                Some((id, Side::Caller, Party::Operator(answer.operator)))
            }
            Party::Operator(id) => {
                let call = self.call_of(id)?;
                self.calls.find(call)?.answer()?;
                Some((call, Side::Operator, Party::Caller(call)))
            }
        }
    }

    /// Connects a waiting call with a free operator.
    pub(super) fn connect(
        &mut self,
        now: Now,
        id: CallId,
        operator: OperatorId,
        effects: &mut Vec<Effect>,
    ) {
        self.roster.occupy(operator, id);
        let Some(call) = self.calls.find_mut(id) else { return };
        let Some(name) = self.roster.operator(operator).map(|operator| operator.name.clone())
        else {
            return;
        };
        self.answers += 1;
        let (order, at, moment) = (self.answers, now.at, Some(now.moment));
        call.connect(Answer { operator, order, at, moment });
        self.talks.insert(order, id);
        let position = self.queue.hold(call.number);
        self.rhythm.change();

        effects.push(Effect::Record(Record::Answered { call: id, operator, at }));
        if let Some(call) = self.calls.find(id) {
            self.tell_connected(id, call, Side::Caller, operator, effects);
            self.tell_connected(id, call, Side::Operator, operator, effects);
        }
        if self.last_seq(id) == Some(Seq(0)) {
            // Answered at once: the caller joins only now.
            self.joined(now, id, effects);
        }
        if let Some(call) = self.calls.find_mut(id) {
            let hearers = call.hearers();
            let entry = call.record(at, Item::Joined { from: Side::Operator, name });
            effects.push(Effect::Entry { call: id, entry, hearers });
        }
        self.tell_moved(position, effects);
    }

    /// Lets a connected call wait again, where it was before: its operator, of this name, has left.
    pub(super) fn put_back(&mut self, now: Now, id: CallId, name: Name, effects: &mut Vec<Effect>) {
        let Some(call) = self.calls.find_mut(id) else { return };
        let Some(answer) = call.answer() else { return };
        let hearers = call.hearers();
        let entry = call.record(now.at, Item::Left { from: Side::Operator, name });
        effects.push(Effect::Entry { call: id, entry, hearers });
        effects.push(Effect::Record(Record::PutBack { call: id }));
        call.put_back();
        self.talks.remove(&answer.order);
        self.timers.stop(Timer::LetGo(id));
        let standing = match call.away.map(|since| since + limits::PASSED_OVER) {
            None => Standing::Present,
            Some(until) if until <= now.moment => Standing::PassedOver,
            Some(until) => {
                self.timers.set(Timer::PassedOver(id), until);
                Standing::Awaited
            }
        };
        let position = self.queue.put_back(call.number, standing);
        self.rhythm.change();
        if has(Bug::PutBackUnderNewNumber) {
            self.send_to_the_back(id);
        }
        if let Some(position) = position {
            self.tell_place(id, position, effects);
            self.tell_moved(position.checked_add(1), effects);
        }
    }

    /// For planted bugs: lets a waiting call wait behind everybody else.
    pub(super) fn send_to_the_back(&mut self, id: CallId) {
        let number = self.next_number();
        let Some(call) = self.calls.find_mut(id) else { return };
        self.queue.forget(call.number);
        call.number = number;
        self.queue.push(number, id);
    }

    /// The first in line goes to the next one who is there.
    pub(super) fn pass_over(&mut self, id: CallId) {
        if let Some(call) = self.calls.find(id) {
            self.queue.stand(call.number, Standing::PassedOver);
        }
    }

    /// Whether the caller of a connected call has been away for so long that its operator may go on.
    pub(super) fn may_be_let_go(&self, now: Now, id: CallId) -> bool {
        let call = self.calls.find(id).filter(|call| call.answer().is_some());
        let away = call.and_then(|call| call.away);
        away.is_some_and(|since| since + limits::LET_GO <= now.moment)
    }

    /// Puts a call back whose caller is away, and frees its operator. A line that stops has nobody to be freed for.
    pub(super) fn let_go(&mut self, now: Now, id: CallId, effects: &mut Vec<Effect>) {
        if self.stopping {
            return;
        }
        let answer = self.calls.find(id).and_then(|call| call.answer());
        let Some(answer) = answer else { return };
        let Some(operator) = self.roster.operator(answer.operator) else { return };
        self.put_back(now, id, operator.name.clone(), effects);
        let to = Party::Operator(answer.operator);
        effects.push(Effect::Tell { to, notice: Notice::PutBack { call: id } });
        self.roster.release(answer.operator);
    }

    /// Ends a call that isn't over. Those who are there have to see that in time.
    pub(super) fn end_call(
        &mut self,
        now: Now,
        id: CallId,
        by: By,
        why: Why,
        effects: &mut Vec<Effect>,
    ) {
        let Some(call) = self.calls.find_mut(id) else { return };
        let mut hearers = call.hearers();
        // Who is given up hears nothing.
        hearers.caller &= why != Why::TimedOut;
        if let State::Connected(answer) = call.end() {
            self.talks.remove(&answer.order);
            if let Some(moment) = answer.moment {
                self.pace.talked(now.moment.since(moment));
            }
        }
        let position = self.queue.forget(call.number);
        self.rhythm.change();
        effects.push(Effect::Record(Record::Closed { call: id, at: now.at }));
        let entry = call.record(now.at, Item::Ended { by, why });
        effects.push(Effect::Entry { call: id, entry, hearers });
        self.timers.stop(Timer::PassedOver(id));
        self.timers.stop(Timer::LetGo(id));
        let operator = hearers.operator.map(Party::Operator);
        for party in [Some(Party::Caller(id)), operator].into_iter().flatten() {
            if self.is_present(party) {
                self.timers.set(Timer::EndNotSeen(party), now.moment + limits::END_SEEN);
            }
        }
        self.tell_moved(position, effects);
    }

    /// Takes note that a side is done with an ended call, and forgets the call when both are.
    pub(super) fn done(&mut self, id: CallId, side: Side, effects: &mut Vec<Effect>) {
        let Some(call) = self.calls.find_mut(id) else { return };
        let State::Ended(_) = call.state() else { return };
        effects.push(Effect::Record(Record::Done { call: id, side }));
        call.done(side);
        if let State::Ended(unseen) = call.state()
            && !unseen.caller
            && unseen.operator.is_none()
        {
            self.calls.forget(id);
            if has(Bug::PlaceFreedTwice) {
                self.rules.places = self.rules.places.saturating_add(1);
            }
        }
    }
}
