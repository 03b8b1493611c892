//! What people are told beside entries: their place, that they talk, and the board.

use helpline_proto::{
    ids::{CallId, Side},
    limits,
};

use crate::{
    Board, Effect, Listed, Notice, Now, OperatorId, Party, Talk, Wait, Waiter,
    call::{Call, State},
    line::Switchboard,
    queue,
};

/// What somebody is told again.
impl Switchboard {
    /// Tells a party that is [`Back`](crate::Input::Back) who it is and which calls it has; the entries that it
    /// hasn't shown, and its [state](Self::restate), are to follow.
    pub fn resumed(&self, party: Party, effects: &mut Vec<Effect>) {
        let (name, id, side) = match party {
            Party::Caller(id) => {
                let Some(call) = self.calls.find(id).filter(|call| call.has_caller()) else {
                    return;
                };
                (&call.name, Some(id), Side::Caller)
            }
            Party::Operator(id) => {
                let Some(operator) = self.roster.operator(id) else { return };
                (&operator.name, operator.call, Side::Operator)
            }
        };
        let listed = |id: CallId| {
            let call = self.calls.find(id)?;
            Some(Listed { call: id, next_nonce: call.next_nonce(side), last: call.last_seq() })
        };
        let calls = id.and_then(listed).into_iter().collect();
        effects.push(Effect::Tell { to: party, notice: Notice::Admitted { name: name.clone() } });
        effects.push(Effect::Tell { to: party, notice: Notice::Resumed { calls } });
    }

    /// Tells a party its present state again, for when notices to it were dropped or it is back: a caller their
    /// place or that they talk; an operator the call they talk on, what stands offered, and the board.
    ///
    /// Entries are not told again: they are in the store.
    pub fn restate(&self, party: Party, effects: &mut Vec<Effect>) {
        match party {
            Party::Caller(id) => {
                let Some(call) = self.calls.find(id) else { return };
                if let State::Waiting = call.state()
                    && let Some(position) = self.queue.position(call.number)
                {
                    self.tell_place(id, position, effects);
                }
                self.retell_talk(party, effects);
            }
            Party::Operator(id) => {
                if self.roster.operator(id).is_none() {
                    return;
                }
                self.retell_talk(party, effects);
                if let Some((call, name)) = self.roster.offered_to(id) {
                    let (name, waiting) = (name.clone(), self.queue.len());
                    let notice = Notice::Offer { call, name, waiting };
                    effects.push(Effect::Tell { to: party, notice });
                }
                effects.push(Effect::Tell { to: party, notice: Notice::Board(self.board()) });
            }
        }
    }

    /// Tells a party that it talks, if it does, and whether the other side is away.
    fn retell_talk(&self, party: Party, effects: &mut Vec<Effect>) {
        let Some((id, side, other)) = self.talk(party) else { return };
        if let Some(call) = self.calls.find(id)
            && let Some(answer) = call.answer()
        {
            self.tell_connected(id, call, side, answer.operator, effects);
        }
        if !self.is_present(other) {
            let notice = Notice::Away { call: id, from: side.other() };
            effects.push(Effect::Tell { to: party, notice });
        }
    }
}

/// What people are told as it happens.
impl Switchboard {
    pub(super) fn wait(&self, position: u32) -> Option<Wait> {
        self.pace.wait(position, self.roster.len())
    }

    pub(super) fn tell_place(&self, id: CallId, position: u32, effects: &mut Vec<Effect>) {
        let Some(call) = self.calls.find(id) else { return };
        let notice = Notice::Place {
            call: id,
            position,
            waiting: self.queue.len(),
            wait: self.wait(position),
            next_nonce: call.next_nonce(Side::Caller),
        };
        effects.push(Effect::Tell { to: Party::Caller(id), notice });
    }

    /// Tells their place to those who now have a told position, after everybody from `from` on moved by one.
    pub(super) fn tell_moved(&self, from: Option<u32>, effects: &mut Vec<Effect>) {
        let Some(from) = from else { return };
        for position in queue::told_positions(from, self.queue.len()) {
            if let Some(id) = self.queue.at(position) {
                self.tell_place(id, position, effects);
            }
        }
    }

    /// Tells one side of a connected call that it is connected.
    pub(super) fn tell_connected(
        &self,
        id: CallId,
        call: &Call,
        side: Side,
        operator: OperatorId,
        effects: &mut Vec<Effect>,
    ) {
        let (to, peer) = match side {
            Side::Caller => {
                let Some(operator) = self.roster.operator(operator) else { return };
                (Party::Caller(id), operator.name.clone())
            }
            Side::Operator => (Party::Operator(operator), call.name.clone()),
        };
        let notice = Notice::Connected { call: id, peer, next_nonce: call.next_nonce(side) };
        effects.push(Effect::Tell { to, notice });
    }

    pub(super) fn tell_board_if_due(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let due = self.rhythm.due().is_some_and(|due| due <= now.moment);
        if !due || self.roster.is_empty() {
            return;
        }
        let board = self.board();
        for id in self.roster.ids() {
            let notice = Notice::Board(board.clone());
            effects.push(Effect::Tell { to: Party::Operator(id), notice });
        }
        self.rhythm.told(now.moment);
    }

    pub(super) fn board(&self) -> Board {
        let first = self.queue.present().take(limits::BOARD_FIRST).filter_map(|id| {
            let call = self.calls.find(id)?;
            Some(Waiter { call: id, name: call.name.clone(), since: call.since })
        });
        let talking = self.talks.values().take(limits::BOARD_TALKING).filter_map(|id| {
            let call = self.calls.find(*id)?;
            let answer = call.answer()?;
            let operator = self.roster.operator(answer.operator)?.name.clone();
            Some(Talk { call: *id, name: call.name.clone(), operator, since: answer.at })
        });
        Board { waiting: self.queue.len(), first: first.collect(), talking: talking.collect() }
    }
}
