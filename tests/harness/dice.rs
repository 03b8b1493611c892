//! Chance, from a seed that can be given back.

use std::time::Duration;

use helpline_proto::ids::Ticket;

/// Rolls the same numbers for the same seed: `SplitMix64`.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice of their own for each `part` of a run.
    ///
    /// # Panics
    /// Never on a machine of today: a `usize` is no longer than a `u64`.
    #[must_use]
    pub fn new(seed: u64, part: usize) -> Self {
        let part = u64::try_from(part).unwrap();
        let mut dice = Self(seed ^ part.wrapping_mul(0xd134_2543_de82_ef95));
        dice.roll();
        dice
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to one less than `end`.
    ///
    /// # Panics
    /// `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(end).unwrap()).unwrap()
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A time from nothing to one millisecond less than so many.
    pub fn millis(&mut self, end: usize) -> Duration {
        Duration::from_millis(self.below(end).try_into().unwrap_or_default())
    }

    /// A secret that comes again with the same seed.
    pub fn ticket(&mut self) -> Ticket {
        let mut ticket = [0; 32];
        for part in ticket.chunks_mut(8) {
            part.copy_from_slice(&self.roll().to_le_bytes());
        }
        Ticket(ticket)
    }

    /// More dice, that roll other numbers.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self(self.roll())
    }
}
