//! The conversation so far, as somebody hears it who is back.

use helpline_proto::ids::Seq;

use super::act::{Act, note};

/// The entries that are there already when somebody is back. On a new screen, the state of the call is shown
/// behind them, and they are marked.
#[derive(Debug, Default)]
pub(crate) struct Earlier {
    /// The last of them.
    last: Seq,
    is_marked: bool,
    /// On a new screen they are still coming.
    comes: bool,
    /// What stands behind them.
    behind: Vec<Act>,
}

impl Earlier {
    /// Entries up to this one come now. A screen that is not new has its part of them already.
    pub(crate) fn begin(&mut self, last: Seq, is_new_screen: bool) {
        // A break on the way changes nothing: what was still to come is still earlier.
        self.comes |= is_new_screen && last > Seq(0);
        self.last = last;
        self.behind.clear();
    }

    /// Whether this entry was there when somebody came back.
    pub(crate) fn has(&self, seq: Seq) -> bool {
        seq <= self.last
    }

    /// Whether they are still to be shown on a new screen.
    pub(crate) fn comes(&self) -> bool {
        self.comes
    }

    /// Whether this entry stands on a screen that hasn't shown it before, and nobody there has typed it.
    pub(crate) fn shows(&self, seq: Seq) -> bool {
        self.comes && self.has(seq)
    }

    /// What stands before a line that was said earlier: once, before the first.
    pub(crate) fn mark(&mut self, seq: Seq) -> Option<Act> {
        let is_first = self.shows(seq) && !self.is_marked;
        is_first.then(|| {
            self.is_marked = true;
            note("earlier in this call:")
        })
    }

    /// What stands behind them, or at once if none are to come.
    pub(crate) fn behind(&mut self, act: Act) -> Option<Act> {
        if !self.comes {
            return Some(act);
        }
        self.behind.push(act);
        None
    }

    /// This entry was shown.
    pub(crate) fn shown(&mut self, seq: Seq) -> Vec<Act> {
        if self.comes && seq >= self.last {
            self.comes = false;
            return std::mem::take(&mut self.behind);
        }
        Vec::new()
    }
}
