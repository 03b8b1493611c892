//! What people are told beside entries: their place, that they talk, and the board.

use helpline_proto::{
    ids::{CallId, Side},
    limits,
};

use crate::{
    Board, Effect, Notice, Now, OperatorId, Party, Talk, Wait, Waiter,
    call::Call,
    line::{Switchboard, count},
    queue,
};

impl Switchboard {
    pub(super) fn wait(&self, position: u32) -> Option<Wait> {
        self.pace.wait(position, self.roster.len())
    }

    pub(super) fn tell_place(&self, id: CallId, position: u32, effects: &mut Vec<Effect>) {
        let Some(call) = self.calls.get(&id) else { return };
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
        if self.stopping {
            // Everybody who waits is being sent away.
            return;
        }
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
        let first = (1..=count(limits::BOARD_FIRST)).map_while(|position| {
            let id = self.queue.at(position)?;
            let call = self.calls.get(&id)?;
            Some(Waiter { call: id, name: call.name.clone(), since: call.since })
        });
        let talking = self.talks.values().take(limits::BOARD_TALKING).filter_map(|id| {
            let call = self.calls.get(id)?;
            let answer = call.answer()?;
            let operator = self.roster.operator(answer.operator)?.name.clone();
            Some(Talk { call: *id, name: call.name.clone(), operator, since: answer.now.at })
        });
        Board { waiting: self.queue.len(), first: first.collect(), talking: talking.collect() }
    }
}
