//! A store that knows nothing but the records and entries it is given.

use helpline_proto::ids::{CallId, Nonce, Seq, Side};
use helpline_switchboard::{
    Effect, Entry, Item, KeptCall, KeptOperator, KeptState, Presence, QueueNumber, Record, Snapshot,
};

/// What a store would give back at start.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) snapshot: Snapshot,
}

impl Store {
    /// Takes in what is to be recorded, and nothing else.
    pub(crate) fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Record(record) => self.record(record.clone()),
            Effect::Entry { call, entry, .. } => {
                enter(known(&mut self.snapshot.calls, *call), entry);
            }
            Effect::Tell { .. } | Effect::Refuse(_) | Effect::Dismiss { .. } => {}
        }
    }

    fn record(&mut self, record: Record) {
        let Snapshot { next_number, operators, calls } = &mut self.snapshot;
        match record {
            Record::Opened { call, number, ticket, name, at } => {
                assert!(number >= *next_number, "never reused");
                *next_number = QueueNumber(number.0 + 1);
                calls.push(KeptCall {
                    call,
                    number,
                    ticket,
                    name,
                    since: at,
                    state: KeptState::Waiting,
                    answered: false,
                    last_seq: Seq(0),
                    caller_next: Nonce(1),
                    operator_next: Nonce(1),
                });
            }
            Record::Answered { call, operator, at } => {
                let call = known(calls, call);
                assert_eq!(call.state, KeptState::Waiting, "one operator a caller");
                call.state = KeptState::Connected { operator, since: at };
                call.answered = true;
                let holds = |call: &&KeptCall| match call.state {
                    KeptState::Connected { operator: by, .. } => by == operator,
                    KeptState::Ended { operator: by, .. } => by == Some(operator),
                    KeptState::Waiting => false,
                };
                assert_eq!(calls.iter().filter(holds).count(), 1, "one call an operator");
            }
            Record::PutBack { call } => {
                let call = known(calls, call);
                assert!(matches!(call.state, KeptState::Connected { .. }));
                call.state = KeptState::Waiting;
            }
            Record::Closed { call, .. } => {
                let call = known(calls, call);
                let operator = match call.state {
                    KeptState::Waiting => None,
                    KeptState::Connected { operator, .. } => Some(operator),
                    KeptState::Ended { .. } => panic!("ended twice"),
                };
                call.state = KeptState::Ended { caller: true, operator };
            }
            Record::Done { call: id, side } => {
                let KeptState::Ended { caller, operator } = &mut known(calls, id).state else {
                    panic!("done before the end")
                };
                match side {
                    Side::Caller => assert!(std::mem::take(caller), "done once"),
                    Side::Operator => assert!(operator.take().is_some(), "done once"),
                }
                let over = KeptState::Ended { caller: false, operator: None };
                calls.retain(|call| call.state != over);
            }
            Record::SignedOn { operator, ticket, name, answering, .. } => {
                let presence = Presence::Available;
                operators.push(KeptOperator { operator, ticket, name, answering, presence });
            }
            Record::Chose { operator, presence } => {
                let kept = operators.iter_mut().find(|kept| kept.operator == operator).unwrap();
                assert_ne!(std::mem::replace(&mut kept.presence, presence), presence);
            }
            Record::SignedOff { operator, .. } => {
                operators.retain(|kept| kept.operator != operator);
                let left = calls.iter().any(|call| match call.state {
                    KeptState::Connected { operator: by, .. } => by == operator,
                    KeptState::Ended { operator: by, .. } => by == Some(operator),
                    KeptState::Waiting => false,
                });
                assert!(!left, "nobody has a call and isn't there");
            }
            Record::Refused => {}
        }
    }
}

fn known(calls: &mut [KeptCall], id: CallId) -> &mut KeptCall {
    calls.iter_mut().find(|kept| kept.call == id).unwrap()
}

fn enter(call: &mut KeptCall, entry: &Entry) {
    assert_eq!(entry.seq.0, call.last_seq.0 + 1, "dense from 1");
    call.last_seq = entry.seq;
    match &entry.item {
        Item::Said { from, nonce, .. } => {
            let next = match from {
                Side::Caller => &mut call.caller_next,
                Side::Operator => &mut call.operator_next,
            };
            assert_eq!(nonce, next, "each line once, and in order");
            *next = Nonce(nonce.0 + 1);
        }
        Item::Ended { .. } => assert!(matches!(call.state, KeptState::Ended { .. })),
        Item::Joined { .. } | Item::Left { .. } => {}
    }
}
