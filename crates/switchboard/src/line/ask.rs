//! What may be asked for, and by whom.

use helpline_proto::{
    ids::{CallId, Nonce, Side},
    text::Text,
};

use crate::{
    Effect, Notice, Now, OperatorId, Party, Refusal, Request, Why,
    call::{Call, State},
    line::Switchboard,
    roster::Presence,
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
        let known = match from {
            Party::Caller(id) => self.calls.get(&id).is_some_and(Call::has_caller),
            Party::Operator(id) => self.roster.operator(id).is_some(),
        };
        if !known {
            return Ok(());
        }
        match (from, request) {
            (_, Request::Say { call, nonce, text }) => {
                self.say(now, from, call, (nonce, text), effects)?;
            }
            (_, Request::HangUp { call }) => self.hang_up(now, from, call, effects)?,
            (_, Request::Typing { call }) => self.typing(from, call, effects)?,
            (_, Request::EndSeen { call }) => self.end_seen(from, call, effects)?,
            (Party::Operator(id), Request::Next) => {
                self.may_answer(id)?;
                let first = self.queue.first().ok_or(Refusal::NobodyWaiting)?;
                self.connect(now, first, id, effects);
            }
            (Party::Operator(id), Request::Answer { call }) => {
                self.may_answer(id)?;
                let offered = self.roster.offered_to(id).filter(|(offered, _)| *offered == call);
                offered.ok_or(Refusal::NotOffered)?;
                self.connect(now, call, id, effects);
            }
            (Party::Operator(id), Request::Ready) => self.roster.choose(id, Presence::Available),
            (Party::Operator(id), Request::Pause) => self.roster.choose(id, Presence::Break),
            (Party::Operator(id), Request::SignOff) => self.sign_off(now, id, effects),
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
        let call = self.calls.get_mut(&id).ok_or(Refusal::NoSuchCall)?;
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
        let why = match self.calls.get(&id).ok_or(Refusal::NoSuchCall)?.state() {
            State::Waiting => Why::Abandoned,
            State::Connected(_) => Why::Bye,
            State::Ended(_) => return Err(Refusal::CallEnded),
        };
        self.end_call(now, id, side.into(), why, effects);
        Ok(())
    }

    /// Tells the other side, if there is one. Typing into an ended call is no fault: the two crossed.
    fn typing(&self, from: Party, id: CallId, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        let side = self.side(from, id)?;
        if let Some(answer) = self.calls.get(&id).and_then(Call::answer) {
            let to = match side.other() {
                Side::Caller => Party::Caller(id),
                Side::Operator => Party::Operator(answer.operator),
            };
            effects.push(Effect::Tell { to, notice: Notice::Typing { call: id, from: side } });
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
        if !self.calls.get(&id).is_some_and(|call| matches!(call.state(), State::Ended(_))) {
            return Ok(());
        }
        match from {
            Party::Caller(_) => self.dismiss_caller(id, effects),
            Party::Operator(operator) => {
                self.done(id, Side::Operator);
                self.roster.release(operator);
            }
        }
        Ok(())
    }

    fn may_answer(&self, id: OperatorId) -> Result<(), Refusal> {
        if self.call_of(id).is_some() {
            Err(Refusal::Occupied)
        } else if self.stopping {
            Err(Refusal::Closed)
        } else {
            Ok(())
        }
    }
}
