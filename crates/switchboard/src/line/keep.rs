//! What outlives the process: a line from a snapshot, and a snapshot of a line.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    KeptCall, KeptState, Now, Party, Rules, Snapshot,
    board::Rhythm,
    call::{Call, State, Unseen},
    calls::Calls,
    line::Switchboard,
    queue::Queue,
    roster::Roster,
    timers::Timers,
    wait::Pace,
};

impl Switchboard {
    /// An open line as it was kept; everybody on it is away since now.
    #[must_use]
    pub fn restore(rules: Rules, snapshot: &Snapshot, now: Now) -> Self {
        let mut line = Self {
            rules,
            stopping: false,
            next_number: snapshot.next_number,
            calls: Calls::default(),
            queue: Queue::default(),
            roster: Roster::default(),
            tickets: BTreeMap::new(),
            spent: VecDeque::new(),
            talks: BTreeMap::new(),
            answers: 0,
            timers: Timers::default(),
            pace: Pace::default(),
            rhythm: Rhythm::default(),
            stale_first: None,
        };
        for kept in &snapshot.operators {
            line.tickets.insert(kept.ticket, Party::Operator(kept.operator));
            line.roster.sign_on(kept.clone());
        }
        let mut calls: Vec<&KeptCall> = snapshot.calls.iter().collect();
        for kept in &calls {
            line.queue_again(kept);
        }
        calls.sort_by_key(|kept| match kept.state {
            KeptState::Connected { since, .. } => Some(since),
            KeptState::Waiting | KeptState::Ended { .. } => None,
        });
        for kept in calls {
            line.know_again(kept);
        }
        for party in line.everybody() {
            line.leave(now, party);
        }
        // Nobody is there to be told a board, and whoever comes back is.
        line.rhythm.told(now.moment);
        line
    }

    /// All that must survive; [`restore`](Self::restore) goes on from it.
    ///
    /// It follows from the records and entries alone, so a store needn't be given it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut calls: Vec<KeptCall> = self.calls.iter().map(|(id, call)| call.kept(id)).collect();
        calls.sort_by_key(|kept| kept.number);
        Snapshot { next_number: self.next_number, operators: self.roster.kept(), calls }
    }

    /// Gives a call that isn't over its place in the order again. They come by number.
    fn queue_again(&mut self, kept: &KeptCall) {
        match kept.state {
            KeptState::Waiting => {
                self.queue.push(kept.number, kept.call);
            }
            KeptState::Connected { .. } => {
                self.queue.push(kept.number, kept.call);
                self.queue.hold(kept.number);
            }
            KeptState::Ended { .. } => {}
        }
    }

    /// Takes a call in again. Those that are connected come by answer.
    fn know_again(&mut self, kept: &KeptCall) {
        let order = self.answers + 1;
        let call = Call::restored(kept, order);
        match call.state() {
            State::Connected(answer) => {
                self.answers = order;
                self.talks.insert(order, kept.call);
                self.roster.occupy(answer.operator, kept.call);
            }
            State::Ended(Unseen { operator: Some(operator), .. }) => {
                self.roster.occupy(operator, kept.call);
            }
            State::Waiting | State::Ended(_) => {}
        }
        if call.has_caller() {
            self.tickets.insert(kept.ticket, Party::Caller(kept.call));
        }
        self.calls.insert(kept.call, call);
    }
}
