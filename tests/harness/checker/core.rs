//! What those know who stand at the core: who is there, and what was decided.

use std::time::Duration;

use helpline_proto::{
    code::Why,
    ids::{By, CallId, Nonce, Side},
    limits,
    time::Moment,
};

use super::{Call, Checker, Fact, Invariant, PartyId, Presence, Stage, Terms, index};

impl Checker {
    /// From now on every fact is told at the moment of its commit, and presence as the core takes note of it.
    pub fn knows_facts(&mut self, terms: Terms) {
        self.knows_facts = true;
        self.terms = Some(terms);
    }

    /// The server has started: everybody is away since now.
    pub fn server_started(&mut self, now: Moment) {
        self.now = now;
        for party in &mut self.parties {
            party.presence = Presence::AwaySince(now);
        }
    }

    /// A turn begins that was decided at this moment.
    pub fn turn(&mut self, decided: Moment) {
        self.now = decided;
        for party in &mut self.parties {
            party.unsure = false;
        }
    }

    /// The core takes note that a party has a connection (again).
    pub fn here(&mut self, party: PartyId) {
        let party = self.member(party);
        party.presence = Presence::Here;
        party.unsure = true;
    }

    /// The core takes note that a party has no connection any more.
    pub fn away(&mut self, party: PartyId, since: Moment) {
        let party = self.member(party);
        if party.presence == Presence::Here {
            party.presence = Presence::AwaySince(since);
        }
        party.unsure = true;
    }

    /// Something is recorded now.
    pub fn fact(&mut self, fact: Fact) {
        match fact {
            Fact::Opened { call, caller, number } => self.opened(call, caller, number),
            Fact::Answered { call, operator } => self.answered(call, operator),
            Fact::PutBack(call) => {
                if let Stage::Talking(operator) = self.call(call).stage {
                    self.member(operator).call = None;
                    self.returned.push((call, operator));
                } else {
                    self.violated(
                        Invariant::I8,
                        format!("{call} is put back, and wasn't talked on"),
                    );
                }
                self.call(call).stage = Stage::Waiting;
                self.waits(1);
            }
            Fact::Done(call, side) => {
                let known = self.call(call);
                let operator = match known.stage {
                    Stage::Ended(operator) => operator,
                    _ => None,
                };
                let party = if side == Side::Caller { known.caller } else { operator };
                if let Some(party) = party {
                    self.done.push((call, party));
                    if side == Side::Operator {
                        self.member(party).call = None;
                    }
                }
            }
            Fact::SignedOff(id) => {
                let grace = self.terms.map(|terms| terms.operator_grace);
                let party = self.member(id);
                party.signed_off = true;
                party.call = None;
                let wanted = party.wants_off;
                if !wanted && !self.was_away_for(id, grace) {
                    let detail = format!("{id:?} is signed off, and neither asked nor was away");
                    self.violated(Invariant::I7, detail);
                }
            }
        }
    }

    fn opened(&mut self, id: CallId, caller: PartyId, number: u64) {
        let places = self.terms.map_or(u32::MAX, |terms| terms.places);
        if self.waiting >= places {
            let detail =
                format!("{id} is admitted while {} wait for {places} places", self.waiting);
            self.violated(Invariant::I9, detail);
        }
        let last = self.calls.values().map(|call| call.number).max();
        if last.is_some_and(|last| last >= number) {
            self.violated(Invariant::I6, format!("{id} has number {number} behind {last:?}"));
        }
        let call = self.call(id);
        call.caller = Some(caller);
        call.number = number;
        self.waits(1);
    }

    fn answered(&mut self, id: CallId, operator: PartyId) {
        if let Some(other) = self.member(operator).call.replace(id) {
            let detail = format!("{operator:?} answers {id}, and has {other} already");
            self.violated(Invariant::I8, detail);
        }
        if !self.call(id).waits() {
            let stage = self.call(id).stage;
            let detail = format!("{operator:?} answers {id}, which is {stage:?}");
            return self.violated(Invariant::I8, detail);
        }
        let number = self.call(id).number;
        if let Some((first, why)) = self.passed_over(number) {
            let detail = format!("{id} is answered before {first}, {why}");
            self.violated(Invariant::I6, detail);
        }
        let call = self.call(id);
        call.stage = Stage::Talking(operator);
        call.answered = true;
        if !call.operators.contains(&operator) {
            call.operators.push(operator);
        }
        self.waits(-1);
    }

    /// Somebody who came before this number and should have been answered first.
    fn passed_over(&self, number: u64) -> Option<(CallId, &'static str)> {
        let before = self.calls.iter().filter(|(_, call)| call.waits() && call.number < number);
        before
            .filter_map(|(id, call)| {
                let caller = self.parties.get(call.caller?.0 as usize)?;
                match caller.presence {
                    _ if caller.unsure => None,
                    Presence::Here => Some((*id, "who is there")),
                    Presence::AwaySince(since) if self.now < since + limits::PASSED_OVER => {
                        Some((*id, "who is waited for"))
                    }
                    Presence::AwaySince(_) => None,
                }
            })
            .next()
    }

    pub(super) fn ended(&mut self, id: CallId, by: By, why: Why) {
        let terms = self.terms;
        let call = self.calls.entry(id).or_insert_with(Call::new);
        call.over = true;
        call.over_at = self.now;
        let (hung_up, caller, answered) = (call.hung_up, call.caller, call.answered);
        let waited = call.stage == Stage::Waiting;
        call.stage = match call.stage {
            Stage::Talking(operator) => Stage::Ended(Some(operator)),
            _ => Stage::Ended(None),
        };
        call.given_up = why == Why::TIMED_OUT;
        if !self.knows_facts {
            return;
        }
        if waited {
            self.waits(-1);
        }
        let kept = match (by, why) {
            (By::Caller, _) => hung_up[index(Side::Caller)],
            (By::Operator, _) => hung_up[index(Side::Operator)],
            (By::Server, Why::TIMED_OUT) => caller.is_some_and(|caller| {
                let grace = terms
                    .map(|terms| if answered { terms.call_grace } else { terms.waiting_grace });
                self.was_away_for(caller, grace)
            }),
            _ => false,
        };
        if !kept {
            let detail = format!("{id} ends by {by:?}, {why}, without cause");
            self.violated(Invariant::I7, detail);
        }
    }

    /// The turn is whole, and committed.
    pub fn turn_over(&mut self) {
        for (call, operator) in std::mem::take(&mut self.returned) {
            let caller = self.call(call).caller;
            let left = self.member(operator).signed_off;
            let let_go = caller.is_some_and(|it| {
                self.member(it).unsure || self.was_away_for(it, Some(limits::LET_GO))
            });
            if !left && !let_go {
                let detail = format!("{call} is put back, and neither side left it");
                self.violated(Invariant::I7, detail);
            }
        }
        for (call, id) in std::mem::take(&mut self.done) {
            let graces = self.terms.map(|terms| terms.call_grace.min(terms.waiting_grace));
            let party = self.member(id);
            let saw = party.seen.contains(&call);
            let gone =
                party.signed_off || (party.side == Side::Caller && self.was_away_for(id, graces));
            if gone && !saw {
                self.call(call).given_up = true;
            }
            if !saw && !gone {
                let detail = format!("{id:?} is done with {call}, whose end it never showed");
                self.violated(Invariant::I2, detail);
            }
        }
    }

    /// Whether a party has been away for this long, as far as anybody can tell.
    fn was_away_for(&self, party: PartyId, grace: Option<Duration>) -> bool {
        let (Some(grace), Some(it)) = (grace, self.parties.get(party.0 as usize)) else {
            return true;
        };
        let since = match it.presence {
            Presence::AwaySince(since) => Some(since),
            Presence::Here => None,
        };
        // Who was there and hasn't answered the end of its call in time is cut, and away from then on.
        let ends = self.calls.iter().filter(|(id, call)| {
            let ours = call.caller == Some(party) || call.stage == Stage::Ended(Some(party));
            call.over && ours && !it.seen.contains(*id)
        });
        let cut = ends.map(|(_, call)| call.over_at + limits::END_SEEN).min();
        let since = [since, cut].into_iter().flatten().min();
        since.is_some_and(|since| since + grace <= self.now)
    }

    /// Somebody was told which nonce comes next: all below it are recorded.
    pub fn told_next(&mut self, call: CallId, side: Side, next: Nonce) {
        let known = self.calls.get(&call).map_or(1, |call| call.next[index(side)]);
        if self.knows_records && next.0 > known {
            let detail =
                format!("{side:?} of {call} is told nonce {} is next, not {known}", next.0);
            self.violated(Invariant::I4, detail);
        }
    }

    /// Somebody who asked for a place at this moment is told there is none.
    pub fn busy(&mut self, asked: Moment) {
        let Some(terms) = self.terms else { return };
        let before = self.waited.iter().rev().find(|(at, _)| *at < asked).map_or(0, |it| it.1);
        let since = self.waited.iter().rev().take_while(|(at, _)| *at >= asked);
        let most = since.map(|(_, waiting)| *waiting).max().unwrap_or(0).max(before);
        if most < terms.places {
            let detail = format!("busy, while {most} waited for {} places", terms.places);
            self.violated(Invariant::I9, detail);
        }
    }

    /// How many wait, as far as is recorded.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Whether a call waits, as far as is recorded.
    #[must_use]
    pub fn is_waiting(&self, call: CallId) -> bool {
        self.calls.get(&call).is_some_and(Call::waits)
    }

    /// Whether somebody waits who came before this call.
    #[must_use]
    pub fn is_passing(&self, call: CallId) -> bool {
        let Some(number) = self.calls.get(&call).map(|call| call.number) else { return false };
        self.calls.values().any(|other| other.waits() && other.number < number)
    }

    /// Whether both sides asked for the call to end.
    #[must_use]
    pub fn both_hung_up(&self, call: CallId) -> bool {
        self.calls.get(&call).is_some_and(|call| call.hung_up == [true; 2])
    }

    /// Whether an operator asked to leave.
    #[must_use]
    pub fn asked_to_leave(&self, party: PartyId) -> bool {
        self.parties.get(party.0 as usize).is_some_and(|party| party.wants_off)
    }

    /// A buffer holds this much, of at most that.
    pub fn buffer(&mut self, what: &str, holds: usize, bound: usize) {
        if holds > bound {
            let detail = format!("{what} holds {holds}, its bound is {bound}");
            self.violated(Invariant::I11, detail);
        }
    }

    fn waits(&mut self, change: i32) {
        self.waiting = self.waiting.saturating_add_signed(change);
        self.waited.push((self.now, self.waiting));
    }
}
