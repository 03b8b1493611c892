//! What stands in for the console in a server that was built without one.

use std::path::Path;

use helpline_cli_common::{
    exit::Failure,
    log::{Logs, Verbosity},
};
use helpline_proto::text::Name;
use helpline_server::server::Server;

/// No console.
pub(crate) struct Console;

impl Console {
    pub(crate) fn open(
        _: Option<Name>,
        _: &Path,
        _: &mut Server,
        _: &Logs,
        _: Verbosity,
    ) -> Result<Self, Failure> {
        Ok(Self)
    }

    pub(crate) async fn interrupted(&mut self) {
        std::future::pending().await
    }

    pub(crate) async fn stopping(&self, _: u32) {}

    pub(crate) async fn close(self) {}
}
