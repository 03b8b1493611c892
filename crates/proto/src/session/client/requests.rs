//! The requests that have no answer yet, by the reference each went out with.

use std::{collections::VecDeque, mem};

use crate::{
    ids::{CallId, Nonce},
    limits,
    message::Ref,
};

/// How many are remembered.
const REMEMBERED: usize = 4 * limits::UNANSWERED;

/// What a reference on the wire was given out for; whoever asked has one of their own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Say(CallId, Nonce),
    HangUp(CallId, Ref),
    Other(Ref),
}

/// The requests on one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: VecDeque<(Ref, Asked)>,
    last: u32,
}

impl Requests {
    /// Gives out a reference. Lines that are under way are never forgotten for it: their number is bounded by that of the
    /// calls.
    pub(super) fn ask(
        &mut self,
        asked: Asked,
        is_under_way: impl Fn(CallId, Nonce) -> bool,
    ) -> Ref {
        self.last = self.last.checked_add(1).unwrap_or(1);
        if self.open.len() >= REMEMBERED {
            let forgotten = self.open.iter().position(|(_, asked)| match asked {
                Asked::Say(call, nonce) => !is_under_way(*call, *nonce),
                Asked::HangUp(..) | Asked::Other(_) => true,
            });
            forgotten.and_then(|at| self.open.remove(at));
        }
        self.open.push_back((Ref(self.last), asked));
        Ref(self.last)
    }

    /// What a reference was given out for.
    pub(super) fn find(&self, reference: Ref) -> Option<Asked> {
        self.open.iter().find(|(asked, _)| *asked == reference).map(|(_, asked)| *asked)
    }

    /// Takes out what is answered.
    pub(super) fn answered(&mut self, reference: Ref) -> Option<Asked> {
        if reference == Ref::NONE {
            return None;
        }
        let at = self.open.iter().position(|(asked, _)| *asked == reference)?;
        self.open.remove(at).map(|(_, asked)| asked)
    }

    /// Takes out a line that was recorded, whichever reference it has.
    pub(super) fn said(&mut self, call: CallId, nonce: Nonce) {
        let is_it = |asked: &Asked| matches!(asked, Asked::Say(c, n) if (*c, *n) == (call, nonce));
        self.open.retain(|(_, asked)| !is_it(asked));
    }

    /// Takes out everything: no answers will come.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = Asked> {
        mem::take(&mut self.open).into_iter().map(|(_, asked)| asked)
    }
}
