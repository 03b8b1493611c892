//! One call: its state, the numbers of its entries, and the nonces of its two sides.

use std::mem;

use helpline_proto::{
    ids::{CallId, Nonce, Seq, Side},
    planted::{Bug, has},
    text::{Name, Text},
    time::{Moment, UnixMillis},
};

use crate::{
    Entry, Hearers, Item, KeptCall, KeptState, OperatorId, QueueNumber, Refusal, TicketHash,
};

/// Entries that a full call still has room for: those who join and leave it, and its end.
const LAST_ENTRIES: u32 = 16;

/// One caller's visit.
///
/// ```text
///  joins            is answered
/// ───────► Waiting ─────────────► Connected
///           │   ▲                  │     │
///           │   └──── put back ────┘     │ bye, away for too long
///           │                            ▼
///           └──── abandoned, away ───► Ended ───► forgotten, when both sides
///                 for too long                    have seen it or are given up
/// ```
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) ticket: TicketHash,
    pub(crate) name: Name,
    /// Its place in the order, for ever.
    pub(crate) number: QueueNumber,
    /// When it was admitted.
    pub(crate) since: UnixMillis,
    /// Since when its caller has been away.
    pub(crate) away: Option<Moment>,
    state: State,
    answered: bool,
    last_seq: Seq,
    caller_next: Nonce,
    operator_next: Nonce,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    /// It is in the queue.
    Waiting,
    /// Its caller talks with an operator.
    Connected(Answer),
    /// It is over; this says who has not seen that yet.
    Ended(Unseen),
}

/// Who answered a call, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) operator: OperatorId,
    /// Rises with every answer on the line.
    pub(crate) order: u64,
    /// For people.
    pub(crate) at: UnixMillis,
    /// For the length of the talk; unknown if that began before the line was restored.
    pub(crate) moment: Option<Moment>,
}

/// Who still has to see the end of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unseen {
    pub(crate) caller: bool,
    pub(crate) operator: Option<OperatorId>,
}

impl Call {
    /// A call that has just been admitted: it waits, and nothing is in its transcript.
    pub(crate) fn new(
        ticket: TicketHash,
        name: Name,
        number: QueueNumber,
        since: UnixMillis,
    ) -> Self {
        Self {
            ticket,
            name,
            number,
            since,
            away: None,
            state: State::Waiting,
            answered: false,
            last_seq: Seq(0),
            caller_next: Nonce::FIRST,
            operator_next: Nonce::FIRST,
        }
    }

    /// A call as it was kept; if it is connected, this is the order of its answer.
    pub(crate) fn restored(kept: &KeptCall, order: u64) -> Self {
        let state = match kept.state {
            KeptState::Waiting => State::Waiting,
            KeptState::Connected { operator, since } => {
                State::Connected(Answer { operator, order, at: since, moment: None })
            }
            KeptState::Ended { caller, operator } => State::Ended(Unseen { caller, operator }),
        };
        let restored = |next| if has(Bug::CounterOnlyInMemory) { Nonce::FIRST } else { next };
        Self {
            ticket: kept.ticket,
            name: kept.name.clone(),
            number: kept.number,
            since: kept.since,
            away: None,
            state,
            answered: kept.answered,
            last_seq: kept.last_seq,
            caller_next: restored(kept.caller_next),
            operator_next: restored(kept.operator_next),
        }
    }

    /// What must survive of the call with this id.
    pub(crate) fn kept(&self, call: CallId) -> KeptCall {
        KeptCall {
            call,
            number: self.number,
            ticket: self.ticket,
            name: self.name.clone(),
            since: self.since,
            state: match self.state {
                State::Waiting => KeptState::Waiting,
                State::Connected(answer) => {
                    KeptState::Connected { operator: answer.operator, since: answer.at }
                }
                State::Ended(Unseen { caller, operator }) => KeptState::Ended { caller, operator },
            },
            answered: self.answered,
            last_seq: self.last_seq,
            caller_next: self.caller_next,
            operator_next: self.operator_next,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Whether an operator has ever answered it.
    pub(crate) fn answered(&self) -> bool {
        self.answered
    }

    /// The number of its last entry; 0 while there is none.
    pub(crate) fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// The nonce that the side's next line must have.
    pub(crate) fn next_nonce(&self, side: Side) -> Nonce {
        match side {
            Side::Caller => self.caller_next,
            Side::Operator => self.operator_next,
        }
    }

    /// The answer under which it is talked on now.
    pub(crate) fn answer(&self) -> Option<Answer> {
        match self.state {
            State::Connected(answer) => Some(answer),
            State::Waiting | State::Ended(_) => None,
        }
    }

    /// Whether its caller still belongs to it.
    pub(crate) fn has_caller(&self) -> bool {
        match self.state {
            State::Waiting | State::Connected(_) => true,
            State::Ended(unseen) => unseen.caller,
        }
    }

    /// Those who belong to it, there or away.
    pub(crate) fn hearers(&self) -> Hearers {
        match self.state {
            State::Waiting => Hearers { caller: true, operator: None },
            State::Connected(answer) => Hearers { caller: true, operator: Some(answer.operator) },
            State::Ended(unseen) => Hearers { caller: unseen.caller, operator: unseen.operator },
        }
    }

    /// Makes the next entry.
    pub(crate) fn record(&mut self, at: UnixMillis, item: Item) -> Entry {
        // Lines stop with room to spare, so the numbers run out only for a full call that has also been put
        // back a dozen times. Its last number repeating is the least harm then.
        self.last_seq = self.last_seq.next().unwrap_or(self.last_seq);
        Entry { seq: self.last_seq, at, item }
    }

    /// Makes the entry of a line, if the call isn't over, the nonce is the side's next, and there is room.
    pub(crate) fn say(
        &mut self,
        (from, name): (Side, Name),
        nonce: Nonce,
        text: Text,
        at: UnixMillis,
    ) -> Result<Entry, Refusal> {
        if let State::Ended(_) = self.state {
            return Err(Refusal::CallEnded);
        }
        let next = self.next_nonce(from);
        if nonce < next && has(Bug::NoDedupe) {
            return Ok(self.record(at, Item::Said { from, name, nonce, text }));
        }
        if nonce != next {
            return Err(Refusal::Nonce { next });
        }
        let (true, Some(after)) = (self.last_seq.0 < u32::MAX - LAST_ENTRIES, nonce.next()) else {
            return Err(Refusal::CallFull);
        };
        match from {
            Side::Caller => self.caller_next = after,
            Side::Operator => self.operator_next = after,
        }
        Ok(self.record(at, Item::Said { from, name, nonce, text }))
    }

    /// Connects a waiting call.
    pub(crate) fn connect(&mut self, answer: Answer) {
        if let State::Waiting = self.state {
            self.state = State::Connected(answer);
            self.answered = true;
        }
    }

    /// Lets a connected call wait again.
    pub(crate) fn put_back(&mut self) {
        if let State::Connected(_) = self.state {
            self.state = State::Waiting;
        }
    }

    /// Ends the call, which both sides have to see. Says how it stood.
    pub(crate) fn end(&mut self) -> State {
        let Hearers { caller, operator } = self.hearers();
        mem::replace(&mut self.state, State::Ended(Unseen { caller, operator }))
    }

    /// Takes note that a side is done with the ended call.
    pub(crate) fn done(&mut self, side: Side) {
        if let State::Ended(unseen) = &mut self.state {
            match side {
                Side::Caller => unseen.caller = false,
                Side::Operator => unseen.operator = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        Name::new("Ada").unwrap()
    }

    fn call() -> Call {
        Call::new(TicketHash([0; 32]), name(), QueueNumber(1), UnixMillis(0))
    }

    fn say(call: &mut Call, nonce: u32) -> Result<Seq, Refusal> {
        let text = Text::new("hello").unwrap();
        call.say((Side::Caller, name()), Nonce(nonce), text, UnixMillis(0)).map(|entry| entry.seq)
    }

    #[test]
    fn a_full_call_keeps_room_for_its_last_entries() {
        let mut call = call();
        call.last_seq = Seq(u32::MAX - LAST_ENTRIES - 1);
        assert_eq!(say(&mut call, 1), Ok(Seq(u32::MAX - LAST_ENTRIES)));
        assert_eq!(say(&mut call, 2), Err(Refusal::CallFull));
        assert_eq!(
            say(&mut call, 1),
            Err(Refusal::Nonce { next: Nonce(2) }),
            "a resend was recorded"
        );
        for _ in 0..LAST_ENTRIES {
            call.record(UnixMillis(0), Item::Left { from: Side::Operator, name: name() });
        }
        assert_eq!(call.last_seq(), Seq(u32::MAX));
        call.record(UnixMillis(0), Item::Left { from: Side::Operator, name: name() });
        assert_eq!(call.last_seq(), Seq(u32::MAX));
    }

    #[test]
    fn nonces_that_run_out_fill_the_call() {
        let mut call = call();
        call.caller_next = Nonce(u32::MAX);
        assert_eq!(say(&mut call, u32::MAX), Err(Refusal::CallFull));
    }

    #[test]
    fn an_ended_call_ends_no_more_and_refuses_lines() {
        let mut call = call();
        assert!(matches!(call.end(), State::Waiting));
        call.connect(Answer { operator: OperatorId(1), order: 0, at: UnixMillis(0), moment: None });
        call.put_back();
        assert!(matches!(call.state(), State::Ended(Unseen { caller: true, operator: None })));
        assert!(!call.answered());
        assert_eq!(say(&mut call, 1), Err(Refusal::CallEnded));
    }
}
