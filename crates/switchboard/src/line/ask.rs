//! What may be asked for, and by whom.

use helpline_proto::{
    ids::{CallId, Nonce, Side},
    planted::{Bug, has},
    text::Text,
};

use crate::{
    Dismissal, Effect, Notice, Now, OperatorId, Party, Presence, Record, Refusal, Request, Why,
    call::State, line::Switchboard, queue::First,
};

impl Switchboard {
    /// Does what a party asks for. What it refuses, it has not begun.
    pub(super) fn ask(
        &mut self,
        now: Now,
        from: Party,
        request: Request,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if !self.is_present(from) {
            return Ok(());
        }
        match (from, request) {
            (_, Request::Say { call, nonce, text }) => {
                self.say(now, from, call, (nonce, text), effects)?;
            }
            (_, Request::HangUp { call }) => self.hang_up(now, from, call, effects)?,
            (_, Request::Typing { call }) => self.typing(from, call, effects)?,
            (_, Request::EndSeen { call }) => self.end_seen(from, call, effects)?,
            (Party::Operator(id), Request::Next) => self.next(now, id, effects)?,
            (Party::Operator(id), Request::Answer { call }) => {
                self.answer(now, id, call, effects)?;
            }
            (Party::Operator(id), Request::Ready) => {
                self.choose(id, Presence::Available, effects);
            }
            (Party::Operator(id), Request::Pause) => self.choose(id, Presence::Break, effects),
            (Party::Operator(id), Request::SignOff) => {
                self.sign_off(now, id, Dismissal::Done, effects);
            }
            (
                Party::Caller(_),
                Request::Next
                | Request::Answer { .. }
                | Request::Ready
                | Request::Pause
                | Request::SignOff,
            ) => return Err(Refusal::NotAllowed),
        }
        Ok(())
    }

    /// The side that a party is on in a call, if it is theirs. Others' calls and no calls look the same.
    fn side(&self, party: Party, call: CallId) -> Result<Side, Refusal> {
        let (side, own) = match party {
            Party::Caller(id) => (Side::Caller, Some(id)),
            Party::Operator(id) => (Side::Operator, self.call_of(id)),
        };
        if own == Some(call) { Ok(side) } else { Err(Refusal::NoSuchCall) }
    }

    fn say(
        &mut self,
        now: Now,
        from: Party,
        id: CallId,
        (nonce, text): (Nonce, Text),
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let side = self.side(from, id)?;
        let call = self.calls.find_mut(id).ok_or(Refusal::NoSuchCall)?;
        let name = match from {
            Party::Caller(_) => Some(call.name.clone()),
            Party::Operator(id) => self.roster.operator(id).map(|operator| operator.name.clone()),
        };
        let name = name.ok_or(Refusal::NoSuchCall)?;
        let hearers = call.hearers();
        let entry = call.say((side, name), nonce, text, now.at)?;
        effects.push(Effect::Entry { call: id, entry, hearers });
        Ok(())
    }

    fn hang_up(
        &mut self,
        now: Now,
        from: Party,
        id: CallId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let side = self.side(from, id)?;
        let why = match self.calls.find(id).ok_or(Refusal::NoSuchCall)?.state() {
            State::Waiting => Why::Abandoned,
            State::Connected(_) => Why::Bye,
            State::Ended(_) if has(Bug::EndRecordedTwice) => Why::Bye,
            State::Ended(_) => return Err(Refusal::CallEnded),
        };
        self.end_call(now, id, side.into(), why, effects);
        if has(Bug::OperatorReleasedAtBye)
            && side == Side::Caller
            && let Some(operator) = self.calls.find(id).and_then(|call| call.hearers().operator)
        {
            self.operator_done(operator, id, effects);
        }
        Ok(())
    }

    /// Tells the other side, if there is one. Typing into an ended call is no fault: the two crossed.
    fn typing(&self, from: Party, id: CallId, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        self.side(from, id)?;
        if let Some((call, from, to)) = self.talk(from) {
            effects.push(Effect::Tell { to, notice: Notice::Typing { call, from } });
        }
        Ok(())
    }

    /// Lets a party go on from an ended call. In a call that isn't over, nothing can have been seen.
    fn end_seen(
        &mut self,
        from: Party,
        id: CallId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        self.side(from, id)?;
        match from {
            _ if !self.has_end_to_see(from) => {}
            Party::Caller(_) => self.caller_done(id, effects),
            Party::Operator(operator) => self.operator_done(operator, id, effects),
        }
        Ok(())
    }

    /// Connects an operator with the first in line, and lets go of a caller who has been away for long.
    fn next(&mut self, now: Now, id: OperatorId, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        let held = self.call_of(id);
        if held.is_some_and(|call| !self.may_be_let_go(now, call)) {
            return Err(Refusal::Occupied);
        }
        if self.stopping {
            return Err(Refusal::Closed);
        }
        let mut first = match self.queue.first() {
            Some(First::Present(first)) => first,
            Some(First::Awaited) => return Err(Refusal::FirstIsAway),
            None => return Err(Refusal::NobodyWaiting),
        };
        if has(Bug::NextReadsStaleState) {
            first = self.stale_first.take().filter(|id| self.calls.contains(*id)).unwrap_or(first);
        }
        if let Some(held) = held {
            self.let_go(now, held, effects);
        }
        self.connect(now, first, id, effects);
        Ok(())
    }

    fn answer(
        &mut self,
        now: Now,
        id: OperatorId,
        call: CallId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if self.call_of(id).is_some() {
            return Err(Refusal::Occupied);
        }
        if self.stopping {
            return Err(Refusal::Closed);
        }
        let offered = self.roster.offered_to(id).filter(|(offered, _)| *offered == call);
        offered.ok_or(Refusal::NotOffered)?;
        self.connect(now, call, id, effects);
        Ok(())
    }

    fn choose(&mut self, operator: OperatorId, presence: Presence, effects: &mut Vec<Effect>) {
        if self.roster.choose(operator, presence) {
            effects.push(Effect::Record(Record::Chose { operator, presence }));
        }
    }
}
