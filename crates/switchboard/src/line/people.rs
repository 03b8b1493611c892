//! Coming and going, and being away.

use std::collections::BTreeSet;

use helpline_proto::{
    ids::{Answering, By, CallId, Side},
    limits,
    planted::{Bug, has},
    text::Name,
};

use crate::{
    Dismissal, Effect, Item, KeptOperator, Notice, Now, OperatorId, Party, Presence, QueueNumber,
    Record, Refusal, TicketHash, Why,
    call::{Call, State},
    line::{SPENT, Switchboard},
    queue::{First, Standing},
    timers::Timer,
};

/// Coming.
impl Switchboard {
    pub(super) fn join(
        &mut self,
        now: Now,
        id: CallId,
        ticket: TicketHash,
        name: Name,
        effects: &mut Vec<Effect>,
    ) {
        if self.calls.contains(id) || self.tickets.contains_key(&ticket) {
            // Ids are fresh, and a ticket that is known comes back: this is nobody.
            return;
        }
        if self.stopping {
            effects.push(Effect::Refuse(Refusal::Closed));
            return;
        }
        let places = self.rules.places.saturating_add(u32::from(has(Bug::BusyOffByOne)));
        if self.queue.len() >= places {
            effects.push(Effect::Record(Record::Refused));
            let wait = self.wait(self.queue.len().saturating_add(1));
            effects.push(Effect::Refuse(Refusal::Busy { wait }));
            return;
        }
        let number = self.next_number();
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
        self.calls.insert(id, Call::new(ticket, name, number, at));
        self.tickets.insert(ticket, Party::Caller(id));
        let position = self.queue.push(number, id);
        self.rhythm.change();
        // Who is first while an operator is free to answer at once has no place to be told: settling connects them.
        let at_once = self.queue.first() == Some(First::Present(id));
        if !at_once || self.roster.longest_free().is_none() {
            self.tell_place(id, position, effects);
            self.joined(now, id, effects);
        }
    }

    pub(super) fn next_number(&mut self) -> QueueNumber {
        let number = self.next_number;
        // At a million calls a second this is good for half a million years.
        self.next_number = QueueNumber(number.0.saturating_add(1));
        number
    }

    /// Records that the caller joined: the first entry.
    pub(super) fn joined(&mut self, now: Now, id: CallId, effects: &mut Vec<Effect>) {
        let Some(call) = self.calls.find_mut(id) else { return };
        let hearers = call.hearers();
        let item = Item::Joined { from: Side::Caller, name: call.name.clone() };
        effects.push(Effect::Entry { call: id, entry: call.record(now.at, item), hearers });
    }

    pub(super) fn sign_on(
        &mut self,
        now: Now,
        operator: OperatorId,
        ticket: TicketHash,
        (name, answering): (Name, Answering),
        effects: &mut Vec<Effect>,
    ) {
        if self.roster.operator(operator).is_some() || self.tickets.contains_key(&ticket) {
            // Ids are fresh, and a ticket that is known comes back: this is nobody.
            return;
        }
        let (party, at) = (Party::Operator(operator), now.at);
        effects.push(Effect::Record(Record::SignedOn {
            operator,
            ticket,
            name: name.clone(),
            answering,
            at,
        }));
        let notice = Notice::Admitted { name: name.clone() };
        effects.push(Effect::Tell { to: party, notice });
        let notice = Notice::Board(self.board());
        effects.push(Effect::Tell { to: party, notice });
        // Unless others still wait for a changed board, everybody knows it now.
        if self.rhythm.due().is_none() || self.roster.is_empty() {
            self.rhythm.told(now.moment);
        }
        self.tickets.insert(ticket, party);
        let presence = Presence::Available;
        self.roster.sign_on(KeptOperator { operator, ticket, name, answering, presence });
    }
}

/// Being away.
impl Switchboard {
    /// All who are on the line, there or away: callers first.
    pub(super) fn everybody(&self) -> BTreeSet<Party> {
        self.tickets.values().copied().collect()
    }

    pub(super) fn is_present(&self, party: Party) -> bool {
        match party {
            Party::Caller(id) => {
                self.calls.find(id).is_some_and(|call| call.has_caller() && call.away.is_none())
            }
            Party::Operator(id) => self.roster.operator(id).is_some_and(|operator| !operator.away),
        }
    }

    fn is_known(&self, party: Party) -> bool {
        match party {
            Party::Caller(id) => self.calls.find(id).is_some_and(Call::has_caller),
            Party::Operator(id) => self.roster.operator(id).is_some(),
        }
    }

    pub(super) fn away(&mut self, now: Now, party: Party, effects: &mut Vec<Effect>) {
        if !self.is_present(party) {
            return;
        }
        self.leave(now, party);
        if let Some((call, from, to)) = self.talk(party) {
            effects.push(Effect::Tell { to, notice: Notice::Away { call, from } });
        }
    }

    /// Lets a party be away from now on: its grace begins, and what it holds up goes on without it after a while.
    pub(super) fn leave(&mut self, now: Now, party: Party) {
        let grace = match party {
            Party::Caller(id) => {
                let Some(call) = self.calls.find_mut(id) else { return };
                call.away = Some(now.moment);
                let grace =
                    if call.answered() { self.rules.call_grace } else { self.rules.waiting_grace };
                match call.state() {
                    State::Waiting => {
                        self.queue.stand(call.number, Standing::Awaited);
                        self.rhythm.change();
                        let until = now.moment + limits::PASSED_OVER;
                        self.timers.set(Timer::PassedOver(id), until);
                    }
                    State::Connected(answer) => {
                        let operator = self.roster.operator(answer.operator);
                        if operator.is_some_and(|by| by.answering == Answering::ByItself) {
                            let until = now.moment + limits::LET_GO_BY_ITSELF;
                            self.timers.set(Timer::LetGo(id), until);
                        }
                    }
                    State::Ended(_) => {}
                }
                grace
            }
            Party::Operator(id) => {
                self.roster.leave(id);
                self.rules.operator_grace
            }
        };
        self.timers.stop(Timer::EndNotSeen(party));
        self.timers.set(Timer::GraceOver(party), now.moment + grace);
    }

    /// Lets a party be present, and have its full time to see the end of its call if that is over.
    pub(super) fn back(&mut self, now: Now, party: Party, effects: &mut Vec<Effect>) {
        if !self.is_known(party) {
            return;
        }
        let was_away = !self.is_present(party);
        if !has(Bug::GraceNotStopped) {
            self.timers.stop(Timer::GraceOver(party));
        }
        match party {
            Party::Caller(id) => self.caller_back(id),
            Party::Operator(id) => self.roster.come_back(id),
        }
        if self.has_end_to_see(party) {
            self.timers.set(Timer::EndNotSeen(party), now.moment + limits::END_SEEN);
        }
        if was_away && let Some((call, from, to)) = self.talk(party) {
            effects.push(Effect::Tell { to, notice: Notice::Back { call, from } });
        }
    }

    fn caller_back(&mut self, id: CallId) {
        self.timers.stop(Timer::PassedOver(id));
        self.timers.stop(Timer::LetGo(id));
        let Some(call) = self.calls.find_mut(id) else { return };
        let was_away = call.away.take().is_some();
        if was_away && let State::Waiting = call.state() {
            self.queue.stand(call.number, Standing::Present);
            self.rhythm.change();
            if has(Bug::ReconnectGoesToTheBack) {
                self.send_to_the_back(id);
            }
        }
    }

    /// Whether the call of a party is over.
    pub(super) fn has_end_to_see(&self, party: Party) -> bool {
        let id = match party {
            Party::Caller(id) => Some(id),
            Party::Operator(id) => self.call_of(id),
        };
        let call = id.and_then(|id| self.calls.find(id));
        call.is_some_and(|call| matches!(call.state(), State::Ended(_)))
    }

    /// Cuts a party that was there but has not seen the end of its call. It may come back.
    pub(super) fn end_not_seen(&mut self, now: Now, party: Party, effects: &mut Vec<Effect>) {
        effects.push(Effect::Dismiss { party, why: Dismissal::EndNotSeen });
        self.leave(now, party);
    }
}

/// Going.
impl Switchboard {
    /// Waits no longer for a party that is away.
    pub(super) fn give_up(&mut self, now: Now, party: Party, effects: &mut Vec<Effect>) {
        match party {
            Party::Caller(id) => {
                if !self.has_end_to_see(party) {
                    self.end_call(now, id, By::Server, Why::TimedOut, effects);
                }
                self.caller_done(id, effects);
            }
            Party::Operator(id) => self.sign_off(now, id, Dismissal::Done, effects),
        }
    }

    /// Lets a caller go whose call is over.
    pub(super) fn caller_done(&mut self, id: CallId, effects: &mut Vec<Effect>) {
        let party = Party::Caller(id);
        if let Some(call) = self.calls.find(id) {
            self.tickets.remove(&call.ticket);
            if self.spent.len() == SPENT {
                self.spent.pop_front();
            }
            self.spent.push_back(call.ticket);
        }
        self.timers.stop(Timer::EndNotSeen(party));
        self.timers.stop(Timer::GraceOver(party));
        self.done(id, Side::Caller, effects);
        effects.push(Effect::Dismiss { party, why: Dismissal::Done });
    }

    /// Lets an operator go on from an ended call.
    pub(super) fn operator_done(
        &mut self,
        operator: OperatorId,
        call: CallId,
        effects: &mut Vec<Effect>,
    ) {
        self.timers.stop(Timer::EndNotSeen(Party::Operator(operator)));
        self.done(call, Side::Operator, effects);
        self.roster.release(operator);
    }

    /// Lets an operator go: a call that is talked on is put back.
    pub(super) fn sign_off(
        &mut self,
        now: Now,
        id: OperatorId,
        why: Dismissal,
        effects: &mut Vec<Effect>,
    ) {
        let party = Party::Operator(id);
        let Some(operator) = self.roster.sign_off(id) else { return };
        self.tickets.remove(&operator.ticket);
        self.timers.stop(Timer::EndNotSeen(party));
        self.timers.stop(Timer::GraceOver(party));
        if let Some(call) = operator.call {
            self.put_back(now, call, operator.name, effects);
            self.done(call, Side::Operator, effects);
        }
        effects.push(Effect::Record(Record::SignedOff { operator: id, at: now.at }));
        effects.push(Effect::Dismiss { party, why });
    }

    /// Sends everybody away who is there. What is kept of them is kept.
    pub(super) fn end(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.stopping = true;
        for party in self.everybody() {
            if self.is_present(party) {
                self.leave(now, party);
                effects.push(Effect::Dismiss { party, why: Dismissal::Stopped });
            }
        }
        self.timers.clear();
        self.rhythm.told(now.moment);
    }
}
