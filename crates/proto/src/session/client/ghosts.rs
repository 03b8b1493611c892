//! Connections that were given up before they were answered, and may come to be heard late.
//!
//! Such a one supersedes the living connection, which looks as if another process had come with the same
//! ticket. Each does it once, and not for long; another process would again and again.

use std::time::Duration;

use crate::{limits, time::Moment};

/// How long a connection may be heard of after it was begun, though it was given up: a server answers `Resume`
/// within [`HANDSHAKE`](limits::HANDSHAKE) of accepting the connection, or never, and what it tells this connection
/// then may be on its way for as long as nothing else is heard.
const HAUNTS: Duration =
    Duration::from_secs(2 * limits::HANDSHAKE.as_secs() + limits::SILENCE.as_secs());

/// Connections that an earlier process may have given up just before it was killed.
const OF_ANOTHER_PROCESS: u32 = 2;

/// How many there may be, and until when.
#[derive(Debug)]
pub(super) struct Ghosts {
    left: u32,
    until: Moment,
}

impl Ghosts {
    /// Those that an earlier process may have left, when this one starts.
    pub(super) fn at_start(now: Moment) -> Self {
        Self { left: OF_ANOTHER_PROCESS, until: now + HAUNTS }
    }

    /// A connection begun at this moment is given up while its answer is due.
    pub(super) fn given_up(&mut self, begun: Moment) {
        self.left = self.left.saturating_add(1);
        self.until = begun + HAUNTS;
    }

    /// Whether it may have been one of them that superseded this connection; that one doesn't come again.
    pub(super) fn superseded(&mut self, now: Moment) -> bool {
        let may_be = self.left > 0 && now < self.until;
        self.left = self.left.saturating_sub(1);
        may_be
    }
}
