//! The signed-on operators: who is free, whose turn it is, and what is offered to whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use helpline_proto::{
    ids::{Answering, CallId},
    text::Name,
};

use crate::{Effect, Notice, OperatorId, Party};

/// The operators of a line.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    operators: BTreeMap<OperatorId, Operator>,
    /// Rises whenever somebody becomes free or available.
    turns: u64,
    /// The free, available ones who answer by themselves, by turn.
    by_itself: BTreeMap<u64, OperatorId>,
    /// The free, available ones who answer by hand.
    by_hand: BTreeSet<OperatorId>,
    offer: Option<Offered>,
    /// Those who may have joined or left `by_hand` since offers were last told.
    stirred: BTreeSet<OperatorId>,
}

/// A signed-on operator.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) name: Name,
    /// The call that occupies the operator: connected, or ended and unseen.
    pub(crate) call: Option<CallId>,
    answering: Answering,
    presence: Presence,
    /// Since when the operator is free and available, in turns.
    turn: u64,
}

/// What an operator chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Available,
    Break,
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

    /// Signs an operator on, free and available.
    pub(crate) fn sign_on(&mut self, id: OperatorId, name: Name, answering: Answering) {
        let turn = self.turn();
        let presence = Presence::Available;
        self.operators.insert(id, Operator { name, call: None, answering, presence, turn });
        self.index(id);
    }

    /// Signs an operator off; an offer lapses without a word.
    pub(crate) fn sign_off(&mut self, id: OperatorId) -> Option<Operator> {
        self.unindex(id);
        self.lapse(id);
        self.stirred.remove(&id);
        self.operators.remove(&id)
    }

    /// Sets what an operator chose. Who was available already keeps their turn.
    pub(crate) fn choose(&mut self, id: OperatorId, presence: Presence) {
        let turn = self.turn();
        self.change(id, |operator| {
            if operator.presence != presence {
                operator.presence = presence;
                operator.turn = turn;
            }
        });
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

    /// The longest free of the available operators who answer by themselves.
    pub(crate) fn longest_free(&self) -> Option<OperatorId> {
        self.by_itself.first_key_value().map(|(_, id)| *id)
    }

    /// The call that stands offered to an operator.
    pub(crate) fn offered_to(&self, id: OperatorId) -> Option<(CallId, &Name)> {
        let offer = self.offer.as_ref().filter(|offer| offer.to.contains(&id))?;
        Some((offer.call, &offer.name))
    }

    /// Makes the offers true: the first in line stands offered to every free, available operator who answers
    /// by hand, and nothing else to anybody.
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
        let free = operator.call.is_none() && operator.presence == Presence::Available;
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
