//! How much may come how fast.

use std::num::NonZeroU32;

use crate::time::Moment;

/// A token bucket: `burst` at once, then `per_second` a second.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    per_second: NonZeroU32,
    burst: u32,
    /// Thousandths of a token, so that milliseconds add up exactly.
    left: u64,
    at: Moment,
}

impl Rate {
    pub(super) fn new(per_second: u32, burst: u32, now: Moment) -> Self {
        let per_second = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        let mut rate = Self { per_second, burst: burst.max(1), left: 0, at: now };
        rate.left = rate.full();
        rate
    }

    fn full(&self) -> u64 {
        u64::from(self.burst) * 1000
    }

    fn refill(&mut self, now: Moment) {
        let passed = now.0.saturating_sub(self.at.0);
        self.at = self.at.max(now);
        let more = passed.saturating_mul(self.per_second.get().into());
        self.left = self.left.saturating_add(more).min(self.full());
    }

    /// Takes one; the last one there may be is lent, so that nothing is ever thrown away.
    pub(super) fn take(&mut self, now: Moment) {
        self.refill(now);
        self.left = self.left.saturating_sub(1000);
    }

    /// When the next one may come, if that isn't now.
    pub(super) fn closed_until(&self, now: Moment) -> Option<Moment> {
        let mut then = self.clone();
        then.refill(now);
        let missing = 1000_u64.checked_sub(then.left).filter(|missing| *missing > 0)?;
        Some(Moment(now.0.saturating_add(missing.div_ceil(self.per_second.get().into()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut rate = Rate::new(20, 50, Moment(0));
        for _ in 0..50 {
            assert_eq!(rate.closed_until(Moment(0)), None);
            rate.take(Moment(0));
        }
        assert_eq!(rate.closed_until(Moment(0)), Some(Moment(50)));
        assert_eq!(rate.closed_until(Moment(50)), None);
        rate.take(Moment(50));
        assert_eq!(rate.closed_until(Moment(50)), Some(Moment(100)));
        assert_eq!(rate.closed_until(Moment(1_000_000)), None);
    }
}
