//! Connections that nobody accepts: no room for them, or no means to.

use std::{io, time::Duration};

use tokio::time::Instant;

use crate::{crowd::Full, seldom::Seldom};

/// After a failed accept, usually for want of descriptors: trying again at once would spin.
pub(super) const BREATH: Duration = Duration::from_millis(100);

/// Those whom there was no room for.
#[derive(Debug, Default)]
pub(super) struct TurnedAway {
    of_an_address: Seldom,
    in_all: Seldom,
}

impl TurnedAway {
    pub(super) fn count(&mut self, full: Full) {
        match full {
            Full::OfAddress => self.of_an_address.happened(),
            Full::InAll => self.in_all.happened(),
        }
    }

    /// Ready when something was logged. Cancel-safe.
    pub(super) async fn log(&mut self) {
        tokio::select! {
            times = self.of_an_address.due() => {
                tracing::warn!(times, "connections closed: too many of one address");
            }
            times = self.in_all.due() => {
                tracing::warn!(times, "connections closed: there is no room for more");
            }
        }
    }
}

/// Nothing can be accepted at the moment, usually for want of descriptors or memory.
#[derive(Debug, Default)]
pub(super) struct Famine {
    until: Option<Instant>,
    error: Option<io::Error>,
    seldom: Seldom,
}

impl Famine {
    pub(super) fn begins(&mut self, error: io::Error) {
        self.until = Some(Instant::now() + BREATH);
        self.error = Some(error);
        self.seldom.happened();
    }

    pub(super) fn is_on(&self) -> bool {
        self.until.is_some()
    }

    pub(super) fn may_be_over(&mut self) {
        self.until = None;
    }

    /// Waits until it is time to try again.
    pub(super) fn breath(&self) -> impl Future<Output = ()> + use<> {
        let until = self.until;
        async move {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Ready when something was logged. Cancel-safe.
    pub(super) async fn log(&mut self) {
        let times = self.seldom.due().await;
        if let Some(error) = self.error.take() {
            tracing::warn!(times, %error, "cannot accept a connection");
        }
    }
}
