//! What has to be done, and when.

use std::collections::{BTreeMap, BTreeSet};

use helpline_proto::{ids::CallId, time::Moment};

use crate::Party;

/// Something that has to be done if nothing prevents it before.
///
/// Of what is due at the same moment, the one named first here is done first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The caller of a waiting call has been away for so long that the next one who is there is first.
    PassedOver(CallId),
    /// The caller of a call has been away for so long that its operator, who answers by itself, goes on.
    LetGo(CallId),
    /// A party has not answered the end of its call.
    EndNotSeen(Party),
    /// A party has been away for longer than it is kept.
    GraceOver(Party),
}

/// All that has to be done, each thing at most once.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    order: BTreeSet<(Moment, Timer)>,
    when: BTreeMap<Timer, Moment>,
}

impl Timers {
    /// Has something done at a moment, instead of when it was to be done before.
    pub(crate) fn set(&mut self, timer: Timer, when: Moment) {
        self.stop(timer);
        self.when.insert(timer, when);
        self.order.insert((when, timer));
    }

    /// Has something not done.
    pub(crate) fn stop(&mut self, timer: Timer) {
        if let Some(when) = self.when.remove(&timer) {
            self.order.remove(&(when, timer));
        }
    }

    /// When something is due next.
    pub(crate) fn first(&self) -> Option<Moment> {
        self.order.first().map(|(when, _)| *when)
    }

    /// Takes out what is due, the earliest first.
    pub(crate) fn due(&mut self, now: Moment) -> Option<Timer> {
        let (_, timer) = self.order.first().copied().filter(|(when, _)| *when <= now)?;
        self.stop(timer);
        Some(timer)
    }

    /// Has nothing done any more.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Timer = Timer::LetGo(CallId([1; 16]));
    const BOB: Timer = Timer::LetGo(CallId([2; 16]));

    #[test]
    fn what_is_due_comes_in_order_and_once() {
        let mut timers = Timers::default();
        timers.set(BOB, Moment(5));
        timers.set(ADA, Moment(9));
        timers.set(ADA, Moment(5));
        assert_eq!(timers.due(Moment(4)), None);
        assert_eq!(timers.first(), Some(Moment(5)));
        assert_eq!(timers.due(Moment(6)), Some(ADA));
        assert_eq!(timers.due(Moment(6)), Some(BOB));
        assert_eq!((timers.due(Moment(u64::MAX)), timers.first()), (None, None));
    }

    #[test]
    fn what_is_stopped_is_not_done_and_leaves_nothing() {
        let mut timers = Timers::default();
        timers.set(ADA, Moment(5));
        timers.stop(ADA);
        timers.stop(BOB);
        assert_eq!(timers.first(), None);
        assert!(timers.order.is_empty() && timers.when.is_empty());
    }
}
