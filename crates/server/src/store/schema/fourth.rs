//! The fourth form: entries as the frames that were told, as many in a row as were recorded together.
//!
//! A row an entry, as the forms before had it, costs more processor time than all else that is done for what is
//! said.

use std::collections::HashMap;

use helpline_proto::{
    ids::{By, CallId, Nonce, Seq, Side},
    text::{Name, Text},
    time::UnixMillis,
};
use helpline_switchboard::{Entry, Item, Why};
use rusqlite::{Row, Transaction, params};
use rusqlite_migration::{HookError, HookResult};

use crate::{entries::Entries, store::StoreError};

pub(super) const FOURTH: &str = "
CREATE TABLE block (
    row    INTEGER PRIMARY KEY,
    call   INTEGER NOT NULL,             -- call.number
    before INTEGER,                      -- the row before it of the same call
    first  INTEGER NOT NULL,             -- the seq of its first entry
    frames BLOB NOT NULL                 -- its entries, as they go over the wire
) STRICT;
";

/// Makes a row of frames of each entry of before. It keeps its number, by which calls find their first and last.
pub(super) fn convert(transaction: &Transaction<'_>) -> HookResult {
    let mut before = HashMap::<i64, i64>::new();
    let mut statement = transaction.prepare(
        "SELECT entry.seq, at, kind, side, entry.name, nonce, text, why, row, call, call.id
         FROM entry JOIN call ON call.number = entry.call ORDER BY row",
    )?;
    let mut insert = transaction.prepare("INSERT INTO block VALUES (?, ?, ?, ?, ?)")?;
    let mut found = statement.query([])?;
    while let Some(found) = found.next()? {
        let (row, number): (i64, i64) = (found.get(8)?, found.get(9)?);
        let entry = read(found).map_err(|error| HookError::Hook(error.to_string()))?;
        let entries = Entries::of(CallId(found.get(10)?), entry, 0);
        let before = before.insert(number, row);
        insert.execute(params![row, number, before, entries.first().0, entries.frames()])?;
    }
    Ok(transaction.execute_batch("DROP TABLE entry")?)
}

/// Reads an entry of before.
fn read(row: &Row<'_>) -> Result<Entry, StoreError> {
    let by = match row.get(3)? {
        1 => By::Caller,
        2 => By::Operator,
        3 => By::Server,
        _ => return Err(StoreError::Nonsense("an entry by nobody")),
    };
    let from = match by {
        By::Caller => Ok(Side::Caller),
        By::Operator => Ok(Side::Operator),
        By::Server => Err(StoreError::Nonsense("an entry by a server")),
    };
    let name = || {
        Name::new(row.get::<_, String>(4)?)
            .map_err(|_| StoreError::Nonsense("an entry with an impossible name"))
    };
    let item = match row.get(2)? {
        1 => Item::Said {
            from: from?,
            name: name()?,
            nonce: Nonce(row.get(5)?),
            text: Text::new(row.get::<_, String>(6)?)
                .map_err(|_| StoreError::Nonsense("an entry with an impossible text"))?,
        },
        2 => Item::Joined { from: from?, name: name()? },
        3 => Item::Left { from: from?, name: name()? },
        4 => Item::Ended {
            by,
            why: match row.get(7)? {
                1 => Why::Bye,
                2 => Why::Abandoned,
                // The first form had 3 for lost and 4 for stopping: nobody could come back to
                // a call, so each broken connection and each stop was the end of it.
                3..=5 => Why::TimedOut,
                6 => Why::Banned,
                _ => return Err(StoreError::Nonsense("a call that ended for no reason")),
            },
        },
        _ => return Err(StoreError::Nonsense("an entry of no kind")),
    };
    Ok(Entry { seq: Seq(row.get(0)?), at: UnixMillis(row.get(1)?), item })
}
