//! The line: what happens to it, and what follows from that.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use helpline_proto::{
    ids::{CallId, Seq},
    limits,
    planted::{Bug, has},
    time::Moment,
};

use crate::{
    Dismissal, Effect, Input, Now, OperatorId, Party, QueueNumber, TicketHash, Why,
    board::Rhythm,
    call::{Call, State},
    calls::Calls,
    queue::{First, Queue},
    roster::Roster,
    timers::{Timer, Timers},
    wait::Pace,
};

mod ask;
mod calls;
mod keep;
mod people;
mod tell;

/// Tickets of calls that are over which are remembered: as many as can end while a packet is late.
const SPENT: usize = 1024;

/// What the owner of a line decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How many may wait, there or away. Calls that are put back may exceed it.
    pub places: u32,
    /// For how long a caller who is away is kept whom nobody has answered yet.
    pub waiting_grace: Duration,
    /// For how long a caller who is away is kept once somebody has answered, also after being put back.
    pub call_grace: Duration,
    /// For how long an operator who is away is kept.
    pub operator_grace: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            places: 4,
            waiting_grace: limits::WAITING_GRACE,
            call_grace: limits::CALL_GRACE,
            operator_grace: limits::OPERATOR_GRACE,
        }
    }
}

/// Decides who waits, who talks to whom, and what is recorded.
///
/// Inputs go into [`handle`](Self::handle), and when [`poll_timeout`](Self::poll_timeout) says so,
/// [`handle_timeout`](Self::handle_timeout) is called; what follows is appended to the effects. The same inputs
/// always have the same effects. An input from somebody who is no longer there does nothing: it crossed
/// their dismissal.
///
/// A party is *present* while it has a connection. One that is *away* keeps its place, its call and its turn for a
/// grace, and is told things like any other: who has no connection can't hear them, and is told its state when
/// it is back.
#[derive(Debug)]
pub struct Switchboard {
    rules: Rules,
    stopping: bool,
    next_number: QueueNumber,
    /// Every call that somebody may still ask something about.
    calls: Calls,
    queue: Queue,
    roster: Roster,
    /// The ticket of everybody on the line.
    tickets: BTreeMap<TicketHash, Party>,
    /// Callers' tickets that were forgotten last, oldest first.
    spent: VecDeque<TicketHash>,
    /// Calls that are connected, by order of answer.
    talks: BTreeMap<u64, CallId>,
    answers: u64,
    timers: Timers,
    pace: Pace,
    rhythm: Rhythm,
    /// For [`Bug::NextReadsStaleState`]: who was first once.
    stale_first: Option<CallId>,
}

impl Switchboard {
    /// Takes in what happens, and appends what follows.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let changes = self.rhythm.changes();
        let before = effects.len();
        let mut back = None;
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
            Input::Away(party) => self.away(now, party, effects),
            Input::Back(party) => {
                back = Some(party);
                self.back(now, party, effects);
            }
            Input::Bar { call, by } => {
                if self.is_open(call) {
                    self.end_call(now, call, by, Why::Banned, effects);
                }
            }
            Input::Expel(operator, why) => {
                self.sign_off(now, operator, Dismissal::Expelled(why), effects);
            }
            Input::Stop => self.stopping = true,
            Input::End => self.end(now, effects),
        }
        self.settle(now, effects);
        // A change of before that has become due is left to the timer: it isn't this input's.
        if self.rhythm.changes() != changes {
            self.tell_board_if_due(now, effects);
        }
        if let Some(party) = back {
            // It hears its state as a whole: a change to that would come before what it changes.
            let told = effects.split_off(before);
            let to_it = |effect: &Effect| matches!(effect, Effect::Tell { to, .. } if *to == party);
            effects.extend(told.into_iter().filter(|effect| !to_it(effect)));
        }
    }

    /// Does what is due, and appends what follows.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some(timer) = self.timers.due(now.moment) {
            match timer {
                Timer::PassedOver(call) => self.pass_over(call),
                Timer::LetGo(call) => self.let_go(now, call, effects),
                Timer::EndNotSeen(party) => self.end_not_seen(now, party, effects),
                Timer::GraceOver(party) => self.give_up(now, party, effects),
            }
        }
        self.settle(now, effects);
        self.tell_board_if_due(now, effects);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do, unless inputs come before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let board = self.rhythm.due().filter(|_| !self.roster.is_empty());
        self.timers.first().into_iter().chain(board).min()
    }

    /// Who holds a ticket.
    #[must_use]
    pub fn holder(&self, ticket: TicketHash) -> Option<Party> {
        self.tickets.get(&ticket).copied()
    }

    /// Whether a ticket stood for a call that was over only lately. Somebody who joins with it comes late: on a
    /// connection that was given up, and from which nobody would ever hear again.
    #[must_use]
    pub fn is_spent(&self, ticket: TicketHash) -> bool {
        self.spent.contains(&ticket)
    }

    /// How many wait, there or away.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.queue.len()
    }

    /// How many calls are connected.
    #[must_use]
    pub fn talking(&self) -> u32 {
        count(self.talks.len())
    }

    /// How many calls are connected with both sides present: those that a line which stops waits for.
    #[must_use]
    pub fn finishing(&self) -> u32 {
        let both_present = |id: &&CallId| {
            let caller = Party::Caller(**id);
            self.talk(caller)
                .is_some_and(|(_, _, other)| self.is_present(caller) && self.is_present(other))
        };
        count(self.talks.values().filter(both_present).count())
    }

    /// How many calls are known: waiting, connected, or ended with somebody left to see it.
    #[must_use]
    pub fn calls(&self) -> u32 {
        count(self.calls.len())
    }

    /// Whether a call is waiting or connected.
    #[must_use]
    pub fn is_open(&self, call: CallId) -> bool {
        self.calls.find(call).is_some_and(|call| !matches!(call.state(), State::Ended(_)))
    }

    /// Whether a call waits.
    #[must_use]
    pub fn waits(&self, call: CallId) -> bool {
        self.calls.find(call).is_some_and(|call| matches!(call.state(), State::Waiting))
    }

    /// How many operators are signed on.
    #[must_use]
    pub fn operators(&self) -> u32 {
        self.roster.len()
    }

    /// The number of a known call's last entry.
    #[must_use]
    pub fn last_seq(&self, call: CallId) -> Option<Seq> {
        self.calls.find(call).map(Call::last_seq)
    }

    /// The call that occupies an operator: connected, or ended and not seen yet.
    #[must_use]
    pub fn call_of(&self, operator: OperatorId) -> Option<CallId> {
        self.roster.operator(operator)?.call
    }

    /// Gives the first in line to whoever answers by themselves, and shows who is first then to the others.
    fn settle(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some(operator) = self.roster.longest_free()
            && let Some(first) = self.first()
        {
            self.connect(now, first, operator, effects);
        }
        let first = self.first();
        if has(Bug::NextReadsStaleState) {
            self.stale_first = self.stale_first.or(first);
        }
        let first = first.and_then(|id| Some((id, &self.calls.find(id)?.name)));
        self.roster.offer(first, self.queue.len(), effects);
    }

    /// The call to be answered next: none while its caller is waited for, and none on a line that stops.
    fn first(&self) -> Option<CallId> {
        match self.queue.first() {
            Some(First::Present(id)) if !self.stopping => Some(id),
            _ => None,
        }
    }
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}
