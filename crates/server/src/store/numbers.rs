//! How numbers look as integers of the database.

use super::StoreError;

/// A number as the database has it.
pub(super) fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Nonsense("a number beyond all counting"))
}

/// A number as the switchboard has it.
pub(super) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Nonsense("a number below zero"))
}
