//! When the board is told.

use helpline_proto::{limits, time::Moment};

/// Keeps the board from being told more than once in [`limits::BOARD_EVERY`].
#[derive(Debug, Default)]
pub(crate) struct Rhythm {
    /// Rises with every change to what a board shows.
    changes: u64,
    /// The changes that had been told at the last telling, and when that was.
    told: (u64, Moment),
}

impl Rhythm {
    /// Takes note that a board would look different now.
    pub(crate) fn change(&mut self) {
        self.changes += 1;
    }

    /// How often it changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// From when on there is a changed board to be told; `None` while everybody knows it.
    pub(crate) fn due(&self) -> Option<Moment> {
        let (changes, at) = self.told;
        (changes != self.changes).then(|| at + limits::BOARD_EVERY)
    }

    /// Takes note that everybody knows the board as it is.
    pub(crate) fn told(&mut self, now: Moment) {
        self.told = (self.changes, now);
    }
}
