//! An honest guess at how long somebody will wait.

use std::{collections::VecDeque, time::Duration};

use crate::Wait;

/// Talks that are remembered: enough to be steady, few enough to follow the hour.
const REMEMBERED: usize = 32;

/// Talks below which nothing is said: a guess from one or two would be a promise.
const FEWEST: usize = 3;

/// How long talks take on this line, lately.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    talks: VecDeque<Duration>,
    /// The lower and the upper quartile of `talks`.
    quartiles: Option<(Duration, Duration)>,
}

impl Pace {
    /// Takes note of a talk that ended.
    pub(crate) fn talked(&mut self, talk: Duration) {
        if self.talks.len() == REMEMBERED {
            self.talks.pop_front();
        }
        self.talks.push_back(talk);
        let mut sorted: Vec<Duration> = self.talks.iter().copied().collect();
        sorted.sort_unstable();
        let quarter = |quarters: usize| {
            sorted.get((sorted.len() * quarters).div_ceil(4).saturating_sub(1)).copied()
        };
        self.quartiles = quarter(1).zip(quarter(3)).filter(|_| sorted.len() >= FEWEST);
    }

    /// Guesses the wait of whoever waits at `position` for one of so many signed-on operators.
    ///
    /// All operators together answer one caller each in a *round* of about one talk, so the caller is
    /// answered in round `ceil(position / operators)`. At best that round is about to begin and talks are short
    /// (the lower quartile); at worst the rounds before it, and the talks of now, are long (the upper one).
    /// Nothing is guessed before three calls were answered and ended, or while no operator is signed on.
    /// Seconds are rounded up.
    pub(crate) fn wait(&self, position: u32, operators: u32) -> Option<Wait> {
        let (lower, upper) = self.quartiles?;
        if operators == 0 {
            return None;
        }
        let rounds = position.div_ceil(operators);
        let seconds = |rounds: u32, talk: Duration| {
            let seconds = (u128::from(rounds) * talk.as_millis()).div_ceil(1000);
            u32::try_from(seconds).unwrap_or(u32::MAX)
        };
        Some(Wait { low: seconds(rounds.saturating_sub(1), lower), high: seconds(rounds, upper) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(millis: impl IntoIterator<Item = u64>) -> Pace {
        let mut pace = Pace::default();
        for millis in millis {
            pace.talked(Duration::from_millis(millis));
        }
        pace
    }

    #[test]
    fn nothing_is_guessed_from_two_talks_or_without_an_operator() {
        assert_eq!(pace([1, 2]).wait(1, 1), None);
        assert_eq!(pace([1, 2, 3]).wait(1, 0), None);
        assert!(pace([1, 2, 3]).wait(1, 1).is_some());
    }

    #[test]
    fn a_wait_is_rounds_of_quartiles_rounded_up() {
        // The quartiles of these eight are the second (20.1 s) and the sixth (60.1 s).
        let pace = pace([80_000, 10_000, 60_100, 20_100, 30_000, 70_000, 40_000, 50_000]);
        assert_eq!(pace.wait(1, 1), Some(Wait { low: 0, high: 61 }));
        assert_eq!(pace.wait(2, 1), Some(Wait { low: 21, high: 121 }));
        assert_eq!(pace.wait(2, 2), Some(Wait { low: 0, high: 61 }));
        assert_eq!(pace.wait(5, 2), Some(Wait { low: 41, high: 181 }));
    }

    #[test]
    fn only_the_last_talks_count() {
        let talks = [3_600_000; 100].into_iter().chain([1_000; REMEMBERED]);
        assert_eq!(pace(talks).wait(1, 1), Some(Wait { low: 0, high: 1 }));
    }

    #[test]
    fn a_wait_beyond_all_numbers_is_the_largest() {
        let pace = pace([u64::MAX; 3]);
        assert_eq!(pace.wait(u32::MAX, 1), Some(Wait { low: u32::MAX, high: u32::MAX }));
    }
}
