//! What a client wants said and doesn't know to be recorded yet.

use std::collections::VecDeque;

use crate::{ids::Nonce, limits, message::Ref, text::Text};

/// A line that is not known to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unsaid {
    pub(super) nonce: Nonce,
    pub(super) text: Text,
    /// What the one who asked calls it.
    pub(super) reference: Ref,
}

/// The unsaid lines of one call, in nonce order.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    next: Option<Nonce>,
    unsaid: VecDeque<Unsaid>,
    /// How many of them, from the front, are under way.
    sent: usize,
    /// The bytes of their texts, all together.
    bytes: usize,
}

impl Outbox {
    pub(super) fn new(next: Nonce) -> Self {
        Self { next: Some(next), unsaid: VecDeque::new(), sent: 0, bytes: 0 }
    }

    /// Takes a line in; `None` when the side has used up its nonces.
    pub(super) fn push(&mut self, text: Text, reference: Ref) -> Option<Nonce> {
        let nonce = self.next?;
        self.next = nonce.next();
        self.bytes += text.as_str().len();
        self.unsaid.push_back(Unsaid { nonce, text, reference });
        Some(nonce)
    }

    /// The next line to send, while fewer than [`limits::UNANSWERED`] are under way.
    pub(super) fn send(&mut self) -> Option<&Unsaid> {
        if self.sent >= limits::UNANSWERED {
            return None;
        }
        let unsaid = self.unsaid.get(self.sent)?;
        self.sent += 1;
        Some(unsaid)
    }

    /// Whether every line is at least under way.
    pub(super) fn all_sent(&self) -> bool {
        self.sent == self.unsaid.len()
    }

    /// Drops the line that is recorded now, and tells what the one who asked calls it.
    pub(super) fn said(&mut self, nonce: Nonce) -> Option<Ref> {
        self.remove(nonce).map(|unsaid| unsaid.reference)
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

    /// Takes out everything: it will not be said.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = Unsaid> {
        self.sent = 0;
        self.bytes = 0;
        std::mem::take(&mut self.unsaid).into_iter()
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
