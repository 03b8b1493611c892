//! What time it is: the one place of the server that asks.

use std::time::{Instant, SystemTime};

use helpline_proto::time::{Moment, UnixMillis};
use helpline_switchboard::Now;

/// Counts from when the server started.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Begins to count.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// One that has counted for so long.
    #[cfg(test)]
    pub(crate) fn running_for(time: std::time::Duration) -> Self {
        Self { started: Instant::now().checked_sub(time).unwrap() }
    }

    /// The time on both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let at = since_1970.unwrap_or_default().as_millis();
        Now { moment: self.moment(), at: UnixMillis(i64::try_from(at).unwrap_or(i64::MAX)) }
    }

    /// The time that never steps.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The instant of a moment, rounded up so that it has come when the instant has.
    #[must_use]
    pub fn instant(&self, moment: Moment) -> Instant {
        self.started + moment.since(Moment(0))
    }
}
