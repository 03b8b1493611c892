//! Refusals that are told later, so that guessing takes time.

use std::collections::{BTreeMap, HashMap};

use helpline_proto::{message::Message, time::Moment};

use super::ConnectionId;

/// Refusals by when they are told, for as long as somebody is there to hear them.
#[derive(Debug, Default)]
pub(super) struct Later {
    refusals: BTreeMap<(Moment, ConnectionId), Message>,
    due: HashMap<ConnectionId, Moment>,
}

impl Later {
    /// Tells somebody then.
    pub(super) fn tell(&mut self, id: ConnectionId, at: Moment, refusal: Message) {
        self.forget(id);
        self.refusals.insert((at, id), refusal);
        self.due.insert(id, at);
    }

    /// Takes out one that is due, the earliest first.
    pub(super) fn take_due(&mut self, now: Moment) -> Option<(ConnectionId, Message)> {
        let first = self.refusals.first_entry().filter(|first| first.key().0 <= now)?;
        let ((_, id), refusal) = first.remove_entry();
        self.due.remove(&id);
        Some((id, refusal))
    }

    /// Whoever was to be told has gone. True if anybody was.
    pub(super) fn forget(&mut self, id: ConnectionId) -> bool {
        let due = self.due.remove(&id);
        due.is_some_and(|due| self.refusals.remove(&(due, id)).is_some())
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Moment> {
        self.refusals.keys().next().map(|(due, _)| *due)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.refusals.len(), self.due.len());
        self.due.len()
    }
}
