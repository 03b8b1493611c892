//! What a client wants said and doesn't know to be recorded yet.

use std::{collections::VecDeque, mem};

use crate::{
    ids::Nonce,
    limits,
    message::Ref,
    planted::{self, Bug},
    text::Text,
};

/// A line that is not known to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unsaid {
    pub(super) nonce: Nonce,
    pub(super) text: Text,
    /// What the one who asked calls it.
    pub(super) reference: Ref,
    /// It was sent, and the server hasn't said since that it isn't recorded: it may be.
    pub(super) was_sent: bool,
}

/// The unsaid lines of one call, in nonce order.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    next: Option<Nonce>,
    /// Known to be recorded since a reconnect; the replay brings them.
    recorded: VecDeque<Unsaid>,
    unsaid: VecDeque<Unsaid>,
    /// How many of them, from the front, are under way.
    sent: usize,
    /// The bytes of all their texts, the recorded ones' too.
    bytes: usize,
}

impl Outbox {
    pub(super) fn new(next: Nonce) -> Self {
        let (recorded, unsaid) = (VecDeque::new(), VecDeque::new());
        Self { next: Some(next), recorded, unsaid, sent: 0, bytes: 0 }
    }

    /// Takes in a line that an earlier process was asked to say, in nonce order.
    pub(super) fn restore(&mut self, nonce: Nonce, text: Text) {
        self.bytes += text.as_str().len();
        self.next = nonce.next();
        self.unsaid.push_back(Unsaid { nonce, text, reference: Ref::NONE, was_sent: true });
    }

    /// The connection is lost: whatever was under way may or may not be recorded.
    pub(super) fn offline(&mut self) {
        self.sent = 0;
        if planted::has(Bug::UnsaidForgotten) {
            self.unsaid.clear();
            self.bytes = 0;
        }
    }

    /// The server says which nonce comes next: every line below it is recorded, and the others are to be
    /// sent (again). Lines between that were refused leave no gap.
    pub(super) fn resume(&mut self, next: Nonce) {
        self.sent = 0;
        while let Some(line) = self.unsaid.pop_front_if(|line| line.nonce < next) {
            self.recorded.push_back(line);
        }
        if planted::has(Bug::NewSaysBeforeResends) {
            self.unsaid.make_contiguous().reverse();
        }
        self.next = Some(next);
        for line in &mut self.unsaid {
            // A call that has run out of nonces takes no more lines, and says so.
            line.nonce = self.next.unwrap_or(line.nonce);
            self.next = line.nonce.next();
            line.was_sent = false;
        }
    }

    /// Takes a line in; `None` when the side has used up its nonces.
    pub(super) fn push(&mut self, text: Text, reference: Ref) -> Option<Nonce> {
        let nonce = self.next?;
        self.next = nonce.next();
        self.bytes += text.as_str().len();
        self.unsaid.push_back(Unsaid { nonce, text, reference, was_sent: false });
        Some(nonce)
    }

    /// The next line to send, while fewer than [`limits::UNANSWERED`] are under way.
    pub(super) fn send(&mut self) -> Option<&Unsaid> {
        if self.sent >= limits::UNANSWERED {
            return None;
        }
        let unsaid = self.unsaid.get_mut(self.sent)?;
        unsaid.was_sent = true;
        self.sent += 1;
        Some(unsaid)
    }

    /// Whether every line is at least under way.
    pub(super) fn all_sent(&self) -> bool {
        self.sent == self.unsaid.len()
    }

    /// Takes out the line that has this number, now that an entry has it: no other can.
    pub(super) fn said(&mut self, nonce: Nonce) -> Option<Unsaid> {
        if self.next.is_some_and(|next| next <= nonce) {
            self.next = nonce.next();
        }
        let Some(line) = self.recorded.pop_front_if(|line| line.nonce == nonce) else {
            return self.remove(nonce);
        };
        self.bytes -= line.text.as_str().len();
        Some(line)
    }

    /// Takes out a line that was refused.
    pub(super) fn remove(&mut self, nonce: Nonce) -> Option<Unsaid> {
        let at = self.unsaid.iter().position(|unsaid| unsaid.nonce == nonce)?;
        if at < self.sent {
            self.sent -= 1;
        }
        let unsaid = self.unsaid.remove(at)?;
        self.bytes -= unsaid.text.as_str().len();
        Some(unsaid)
    }

    /// Takes out everything: first what is recorded, though its entries have not come, then what is not
    /// known to be.
    pub(super) fn give_up(&mut self) -> [VecDeque<Unsaid>; 2] {
        self.sent = 0;
        self.bytes = 0;
        [mem::take(&mut self.recorded), mem::take(&mut self.unsaid)]
    }

    /// The lines whose entries have not come, in order. Of those that count as recorded it shows only then
    /// that they are, and not another's with the same number.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Unsaid> {
        self.recorded.iter().chain(&self.unsaid)
    }

    pub(super) fn holds(&self, nonce: Nonce) -> bool {
        self.unsaid.iter().any(|unsaid| unsaid.nonce == nonce)
    }

    pub(super) fn len(&self) -> usize {
        self.unsaid.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
