//! A call as its client has it.

use crate::{
    ids::{Nonce, Seq},
    message::Ref,
    planted::{self, Bug},
    session::outbox::Outbox,
};

/// A call that isn't shown to its end.
#[derive(Debug)]
pub(super) struct OpenCall {
    pub(super) outbox: Outbox,
    /// The last entry that came.
    pub(super) heard: Seq,
    /// The entry that ended it.
    pub(super) end: Option<Seq>,
    pub(super) hang_up: HangingUp,
}

/// How far this side's own hanging up has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HangingUp {
    No,
    /// Wanted, behind the lines that are still to be sent.
    Wanted(Ref),
    Sent(Ref),
}

/// How an entry follows on the last one that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    Next,
    /// It came before.
    Again,
    /// Entries behind this one are missing.
    Gap(Seq),
}

impl OpenCall {
    pub(super) fn new(next_nonce: Nonce) -> Self {
        let outbox = Outbox::new(next_nonce);
        Self { outbox, heard: Seq(0), end: None, hang_up: HangingUp::No }
    }

    /// Takes note of an entry that comes.
    pub(super) fn hear(&mut self, seq: Seq) -> Follows {
        let is_checked = !planted::has(Bug::ScreenIgnoresSeq);
        if is_checked && seq <= self.heard {
            return Follows::Again;
        }
        if is_checked && self.heard.next() != Some(seq) {
            return Follows::Gap(self.heard);
        }
        self.heard = self.heard.max(seq);
        Follows::Next
    }

    /// Whether anything may still be asked for in it.
    pub(super) fn takes_more(&self) -> bool {
        self.end.is_none() && self.hang_up == HangingUp::No
    }

    /// Whether nothing is left to be told to the server: no line, no hanging up.
    pub(super) fn is_idle(&self) -> bool {
        self.outbox.len() == 0 && (self.end.is_some() || self.hang_up == HangingUp::No)
    }

    /// The connection is lost: what was under way is to be sent again.
    pub(super) fn offline(&mut self) {
        self.outbox.offline();
        if let HangingUp::Sent(reference) = self.hang_up {
            self.hang_up = HangingUp::Wanted(reference);
        }
    }

    /// The hanging up, once it is wanted and everything before it is under way.
    pub(super) fn send_hang_up(&mut self) -> Option<Ref> {
        let HangingUp::Wanted(reference) = self.hang_up else { return None };
        if self.end.is_some() || !self.outbox.all_sent() {
            return None;
        }
        self.hang_up = HangingUp::Sent(reference);
        Some(reference)
    }
}
