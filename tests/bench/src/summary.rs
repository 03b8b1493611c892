//! Many figures as few.

use std::time::Duration;

/// How long each of many things took.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    /// In microseconds, with how many took that long.
    taken: Vec<(u32, u64)>,
}

impl Latencies {
    pub(crate) fn add(&mut self, took: Duration, times: u64) {
        self.taken.push((u32::try_from(took.as_micros()).unwrap_or(u32::MAX), times));
    }

    /// What so many of a hundred stay within.
    pub(crate) fn within(&mut self, percent: u64) -> Duration {
        self.taken.sort_unstable();
        let all: u64 = self.taken.iter().map(|(_, times)| times).sum();
        let mut left = (all * percent).div_ceil(100);
        for (took, times) in &self.taken {
            left = left.saturating_sub(*times);
            if left == 0 {
                return Duration::from_micros(u64::from(*took));
            }
        }
        Duration::ZERO
    }
}

/// The middle one.
pub(crate) fn median(mut of: Vec<f64>) -> Option<f64> {
    of.sort_by(f64::total_cmp);
    let middle = of.len() / 2;
    if of.len() % 2 == 1 {
        of.get(middle).copied()
    } else {
        Some((of.get(middle.checked_sub(1)?)? + of.get(middle)?) / 2.0)
    }
}
