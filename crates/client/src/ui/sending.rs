//! When a person is told that a line is under way.

use std::time::Duration;

use tokio::time::Instant;

/// For this long a line may be under way without a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// What to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    Sending,
    Said,
}

/// Whether lines are under way, and for how long.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    since: Option<Instant>,
    told: bool,
}

impl Sending {
    /// Takes note of how many lines are under way now.
    pub(crate) fn update(&mut self, unsaid: usize, now: Instant) -> Option<Tell> {
        if unsaid == 0 {
            self.since = None;
            return std::mem::take(&mut self.told).then_some(Tell::Said);
        }
        let since = *self.since.get_or_insert(now);
        if self.told || now < since + PATIENCE {
            return None;
        }
        self.told = true;
        Some(Tell::Sending)
    }

    /// A line was not said, which is told in other words.
    pub(crate) fn not_said(&mut self) {
        self.told = false;
    }

    /// When to update next, if nothing happens before.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.since.filter(|_| !self.told).map(|since| since + PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_takes_long_is_noted_once_and_then_said() {
        let mut sending = Sending::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(sending.update(1, at(0)), None);
        assert_eq!(sending.due(), Some(at(1000)));
        assert_eq!(sending.update(2, at(999)), None);
        assert_eq!(sending.update(2, at(1000)), Some(Tell::Sending));
        assert_eq!(sending.due(), None);
        assert_eq!(sending.update(1, at(5000)), None);
        assert_eq!(sending.update(0, at(5001)), Some(Tell::Said));
        assert_eq!(sending.update(0, at(5002)), None);
    }

    #[test]
    fn a_line_that_is_said_at_once_is_not_worth_a_word() {
        let mut sending = Sending::default();
        let start = Instant::now();
        assert_eq!(sending.update(1, start), None);
        assert_eq!(sending.update(0, start + Duration::from_millis(900)), None);
        assert_eq!(sending.due(), None);
        assert_eq!(sending.update(1, start + Duration::from_secs(2)), None, "it counts anew");
    }

    #[test]
    fn what_was_not_said_is_never_called_said() {
        let mut sending = Sending::default();
        let start = Instant::now();
        assert_eq!(sending.update(1, start), None);
        assert_eq!(sending.update(1, start + PATIENCE), Some(Tell::Sending));
        sending.not_said();
        assert_eq!(sending.update(0, start + PATIENCE), None);
    }
}
