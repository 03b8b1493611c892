//! The signed-on operators: who is free, whose turn it is, and what is offered to whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use helpline_proto::{
    ids::{Answering, CallId},
    text::Name,
};

use crate::{Effect, KeptOperator, Notice, OperatorId, Party, Presence, TicketHash};

/// The operators of a line.
///
/// *Free* is who is in no call, available, and there.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    operators: BTreeMap<OperatorId, Operator>,
    /// Rises whenever somebody becomes free or available.
    turns: u64,
    /// The free ones who answer by themselves, by turn.
    by_itself: BTreeMap<u64, OperatorId>,
    /// The free ones who answer by hand.
    by_hand: BTreeSet<OperatorId>,
    offer: Option<Offered>,
    /// Those who may have joined or left `by_hand` since offers were last told.
    stirred: BTreeSet<OperatorId>,
}

/// A signed-on operator.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) ticket: TicketHash,
    pub(crate) name: Name,
    pub(crate) answering: Answering,
    pub(crate) presence: Presence,
    /// Whether the operator has no connection.
    pub(crate) away: bool,
    /// The call that occupies the operator: connected, or ended and unseen.
    pub(crate) call: Option<CallId>,
    /// Since when the operator is free and available, in turns. A break of the connection doesn't cost it.
    turn: u64,
}

/// The first in line, and the operators it stands offered to.
#[derive(Debug)]
struct Offered {
    call: CallId,
    name: Name,
    to: BTreeSet<OperatorId>,
}

impl Roster {
    /// How many are signed on.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.operators.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.operators.is_empty()
    }

    /// Everybody, by sign-on.
    pub(crate) fn ids(&self) -> impl Iterator<Item = OperatorId> {
        self.operators.keys().copied()
    }

    pub(crate) fn operator(&self, id: OperatorId) -> Option<&Operator> {
        self.operators.get(&id)
    }

    /// What must survive of everybody, by sign-on.
    pub(crate) fn kept(&self) -> Vec<KeptOperator> {
        let kept = |(id, operator): (&OperatorId, &Operator)| KeptOperator {
            operator: *id,
            ticket: operator.ticket,
            name: operator.name.clone(),
            answering: operator.answering,
            presence: operator.presence,
        };
        self.operators.iter().map(kept).collect()
    }

    /// Signs an operator on, who is there and in no call.
    pub(crate) fn sign_on(&mut self, kept: KeptOperator) {
        let KeptOperator { operator: id, ticket, name, answering, presence } = kept;
        let turn = self.turn();
        let operator =
            Operator { ticket, name, answering, presence, away: false, call: None, turn };
        self.operators.insert(id, operator);
        self.index(id);
    }

    /// Signs an operator off; an offer lapses without a word.
    pub(crate) fn sign_off(&mut self, id: OperatorId) -> Option<Operator> {
        self.unindex(id);
        self.lapse(id);
        self.stirred.remove(&id);
        self.operators.remove(&id)
    }

    /// Sets what an operator chose, and says whether that changes anything. If not, they keep their turn.
    pub(crate) fn choose(&mut self, id: OperatorId, presence: Presence) -> bool {
        if self.operator(id).is_none_or(|operator| operator.presence == presence) {
            return false;
        }
        let turn = self.turn();
        self.change(id, |operator| {
            operator.presence = presence;
            operator.turn = turn;
        });
        true
    }

    /// Takes note that an operator is away; an offer lapses without a word.
    pub(crate) fn leave(&mut self, id: OperatorId) {
        self.lapse(id);
        self.change(id, |operator| operator.away = true);
    }

    /// Takes note that an operator is there again.
    pub(crate) fn come_back(&mut self, id: OperatorId) {
        self.change(id, |operator| operator.away = false);
    }

    /// Gives an operator a call; an offer lapses without a word, since *connected* says it.
    pub(crate) fn occupy(&mut self, id: OperatorId, call: CallId) {
        self.lapse(id);
        self.change(id, |operator| operator.call = Some(call));
    }

    /// Frees an operator: last in turn.
    pub(crate) fn release(&mut self, id: OperatorId) {
        let turn = self.turn();
        self.change(id, |operator| {
            operator.call = None;
            operator.turn = turn;
        });
    }

    /// The longest free of those who answer by themselves.
    pub(crate) fn longest_free(&self) -> Option<OperatorId> {
        self.by_itself.first_key_value().map(|(_, id)| *id)
    }

    /// The call that stands offered to an operator.
    pub(crate) fn offered_to(&self, id: OperatorId) -> Option<(CallId, &Name)> {
        let offer = self.offer.as_ref().filter(|offer| offer.to.contains(&id))?;
        Some((offer.call, &offer.name))
    }

    /// Makes the offers true: the first in line stands offered to every free operator who answers by hand, and
    /// nothing else to anybody.
    ///
    /// It costs as much as there is to tell, not as there are operators.
    pub(crate) fn offer(
        &mut self,
        first: Option<(CallId, &Name)>,
        waiting: u32,
        effects: &mut Vec<Effect>,
    ) {
        let stirred = mem::take(&mut self.stirred);
        let mut tell = |to, notice| {
            effects.push(Effect::Tell { to: Party::Operator(to), notice });
        };
        if let (Some(offer), Some((call, _))) = (&mut self.offer, first)
            && offer.call == call
        {
            for id in stirred {
                let name = offer.name.clone();
                if !self.by_hand.contains(&id) {
                    if offer.to.remove(&id) {
                        tell(id, Notice::Withdrawn { call, name, waiting });
                    }
                } else if offer.to.insert(id) {
                    tell(id, Notice::Offer { call, name, waiting });
                }
            }
            return;
        }
        if let Some(Offered { call, name, to }) = self.offer.take() {
            for id in to {
                tell(id, Notice::Withdrawn { call, name: name.clone(), waiting });
            }
        }
        if let Some((call, name)) = first {
            for id in &self.by_hand {
                tell(*id, Notice::Offer { call, name: name.clone(), waiting });
            }
            self.offer = Some(Offered { call, name: name.clone(), to: self.by_hand.clone() });
        }
    }

    fn lapse(&mut self, id: OperatorId) {
        if let Some(offer) = &mut self.offer {
            offer.to.remove(&id);
        }
    }

    fn turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn change(&mut self, id: OperatorId, change: impl FnOnce(&mut Operator)) {
        self.unindex(id);
        if let Some(operator) = self.operators.get_mut(&id) {
            change(operator);
        }
        self.index(id);
    }

    fn unindex(&mut self, id: OperatorId) {
        if let Some(operator) = self.operators.get(&id) {
            self.by_itself.remove(&operator.turn);
        }
        self.by_hand.remove(&id);
    }

    fn index(&mut self, id: OperatorId) {
        let Some(operator) = self.operators.get(&id) else { return };
        let free =
            operator.call.is_none() && operator.presence == Presence::Available && !operator.away;
        match (free, operator.answering) {
            (true, Answering::ByItself) => {
                self.by_itself.insert(operator.turn, id);
            }
            (true, Answering::ByHand) => {
                self.by_hand.insert(id);
            }
            (false, _) => {}
        }
        self.stirred.insert(id);
    }
}
