//! Chance, from a seed that can be given back.

use std::{
    env,
    hash::{BuildHasher as _, RandomState},
};

/// Rolls the same numbers for the same seed: `SplitMix64`.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice of their own for each `part` of a run.
    pub(crate) fn new(seed: u64, part: usize) -> Self {
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
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(end).unwrap()).unwrap()
    }

    /// True `percent` times in a hundred.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// More dice, that roll other numbers.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.roll())
    }
}

/// The seed of this run: `HELPLINE_SEED`, or any. Printed, so that it can be given back.
pub(crate) fn seed() -> u64 {
    let seed = env::var("HELPLINE_SEED").map_or_else(
        |_| RandomState::new().hash_one(()),
        |given| given.parse().expect("HELPLINE_SEED is a number"),
    );
    println!("HELPLINE_SEED={seed}");
    seed
}

/// How often something is done: as the environment says, or as by default.
pub(crate) fn times(variable: &str, by_default: usize) -> usize {
    env::var(variable)
        .map_or(by_default, |given| given.parse().expect("how often is given as a number"))
}
