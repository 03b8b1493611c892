//! What the commands that administer a line have in common: the database, and their line in the audit.

use std::time::{SystemTime, UNIX_EPOCH};

use helpline_cli_common::{
    exit::{Exit, Failure},
    terminal,
};
use helpline_proto::time::UnixMillis;
use helpline_server::{
    access::{Audit, Did, Seat},
    data, store,
    store::{StoreError, admin::Admin},
};

use crate::cli;

/// Opens what is kept; makes it, if the server hasn't yet.
pub(crate) fn open(data: &cli::Data) -> Result<Admin, Failure> {
    let directory = data::directory(data.data.as_deref()).map_err(unusable)?;
    data::make(&directory).map_err(unusable)?;
    data::private(&directory, store::DATABASE).map_err(unusable)?;
    Admin::open(&directory).map_err(failed)
}

fn unusable(error: data::DataError) -> Failure {
    Failure::new(Exit::Config, error.to_string()).hint("--data DIR says where calls are kept")
}

/// The database could not be read or written.
pub(crate) fn failed(error: StoreError) -> Failure {
    Failure::new(Exit::IoError, "cannot use the database").because(error)
}

/// The time.
pub(crate) fn now() -> UnixMillis {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}

/// Who runs this command.
pub(crate) fn who() -> String {
    terminal::login_name()
}

/// That whoever runs this command does this, now.
pub(crate) fn audit(did: Did, about: impl Into<String>) -> Audit {
    Audit { at: now(), who: who(), seat: Seat::Command, did, about: about.into() }
}
