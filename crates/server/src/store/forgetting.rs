//! Deleting what is to be kept no longer.

use helpline_proto::time::UnixMillis;
use rusqlite::{Connection, params};

use super::{StoreError, chain};

/// Calls deleted in one transaction: nobody's line waits long for it.
const AT_ONCE: i64 = 100;

/// Deletes bans and invitations that have run out, and calls that were over before then. Says whether there were
/// any calls.
///
/// The last call and the last entry stay: with them the numbers would begin anew, and a call that waits
/// without an entry would look for its own among those of others.
pub(super) fn tidy(
    database: &Connection,
    now: UnixMillis,
    ended_before: Option<UnixMillis>,
) -> Result<bool, StoreError> {
    database.prepare_cached("DELETE FROM ban WHERE until <= ?")?.execute([now.0])?;
    database.prepare_cached("DELETE FROM invitation WHERE until <= ?")?.execute([now.0])?;
    let Some(ended_before) = ended_before else { return Ok(false) };
    let mut outdated = database.prepare_cached(
        "SELECT number, last_row FROM call
         WHERE state = 2 AND NOT caller_unseen AND NOT operator_unseen AND closed_at < ?
           AND number < (SELECT max(number) FROM call)
           AND last_row < (SELECT max(row) FROM block)
         ORDER BY number LIMIT ?",
    )?;
    let mut found = outdated.query(params![ended_before.0, AT_ONCE])?;
    let mut any = false;
    while let Some(row) = found.next()? {
        let (number, last): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
        chain::delete(database, last)?;
        database.prepare_cached("DELETE FROM call WHERE number = ?")?.execute([number])?;
        any = true;
    }
    Ok(any)
}
