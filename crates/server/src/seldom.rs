//! What may happen often and is logged seldom.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};

/// At least so long between two lines about the same thing.
const BETWEEN: Duration = Duration::from_secs(1);

/// Counts what happens between two log lines about it.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    times: u64,
    said: Option<Instant>,
}

impl Seldom {
    /// It happened.
    pub(crate) fn happened(&mut self) {
        self.times = self.times.saturating_add(1);
    }

    /// Waits until it has happened and may be logged, and tells how often since the last time. Cancel-safe.
    pub(crate) async fn due(&mut self) -> u64 {
        if self.times == 0 {
            pending::<()>().await;
        }
        if let Some(said) = self.said {
            sleep_until(said + BETWEEN).await;
        }
        self.said = Some(Instant::now());
        std::mem::take(&mut self.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happens_often_is_told_at_once_and_then_once_a_second() {
        let mut seldom = Seldom::default();
        let begun = Instant::now();
        seldom.happened();
        assert_eq!((seldom.due().await, begun.elapsed()), (1, Duration::ZERO));
        for _ in 0..1000 {
            seldom.happened();
        }
        assert_eq!((seldom.due().await, begun.elapsed()), (1000, BETWEEN));
        let nothing = tokio::time::timeout(10 * BETWEEN, seldom.due()).await;
        assert!(nothing.is_err(), "nothing has happened");
    }
}
