//! The rows of one call's entries: each names the one before it, so that no index is needed and little is kept in
//! memory, however long the call.

use helpline_proto::ids::{CallId, Seq};
use helpline_switchboard::Entry;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _};

use crate::entries::{self, NO_FRAMES};

use super::{Page, StoreError};

/// Rows that are walked back at most from one that is known.
const STRIDE: u32 = 32;

/// A row, and the number of the first entry in it.
#[derive(Clone, Copy, Debug)]
struct Mark {
    row: i64,
    first: Seq,
}

/// Where the rows of a call that goes on are.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    last: Option<i64>,
    /// Each [`STRIDE`]th row.
    marks: Vec<Mark>,
    since_mark: u32,
}

impl Chain {
    /// The last row, if there is one.
    pub(super) fn last(&self) -> Option<i64> {
        self.last
    }

    /// The next row.
    pub(super) fn push(&mut self, row: i64, first: Seq) {
        self.last = Some(row);
        self.since_mark += 1;
        if self.since_mark == STRIDE {
            self.marks.push(Mark { row, first });
            self.since_mark = 0;
        }
    }

    /// A row behind that with the entry after this one, or that row, and near it.
    fn behind(&self, after: Seq) -> Option<i64> {
        let next = self.marks.partition_point(|mark| mark.first <= after);
        self.marks.get(next).map_or(self.last, |mark| Some(mark.row))
    }

    /// Reads entries behind `after`, until the page is full.
    pub(super) fn read(
        &self,
        database: &Connection,
        call: CallId,
        after: Seq,
        page: &mut Page,
    ) -> Result<(), StoreError> {
        let mut after = after;
        let mut read = None;
        loop {
            let from = self.behind(after);
            if from == read {
                return Ok(());
            }
            read = from;
            let mut more = true;
            each_entry(database, call, from, after, |entry| {
                after = entry.seq;
                more = page.take(entry);
                more
            })?;
            if !more {
                return Ok(());
            }
        }
    }
}

/// Goes through the entries of a call behind `after`, in order, up to those in the row `last`, until `take` has
/// enough.
pub(super) fn each_entry(
    database: &Connection,
    call: CallId,
    last: Option<i64>,
    after: Seq,
    mut take: impl FnMut(Entry) -> bool,
) -> Result<(), StoreError> {
    let rows = walk_back(database, last, after)?;
    let mut statement = database.prepare_cached("SELECT frames FROM block WHERE row = ?")?;
    for row in rows.into_iter().rev() {
        let mut found = statement.query([row])?;
        let found = found.next()?.ok_or(MISSING)?;
        for entry in entries::read(call, found.get_ref(0)?.as_blob().map_err(|_| NO_FRAMES)?) {
            let entry = entry?;
            if entry.seq > after && !take(entry) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Deletes the rows of a call.
pub(super) fn delete(database: &Connection, last: Option<i64>) -> Result<(), StoreError> {
    let rows = walk_back(database, last, Seq(0))?;
    let mut statement = database.prepare_cached("DELETE FROM block WHERE row = ?")?;
    for row in rows {
        statement.execute([row])?;
    }
    Ok(())
}

/// The rows from this one back to the one with the entry after `after`.
fn walk_back(database: &Connection, last: Option<i64>, after: Seq) -> Result<Vec<i64>, StoreError> {
    let mut statement = database.prepare_cached("SELECT before, first FROM block WHERE row = ?")?;
    let mut rows = Vec::new();
    let mut next = last;
    while let Some(row) = next {
        rows.push(row);
        let (before, first) = link(&mut statement, row)?;
        if before.is_some_and(|before| before >= row) {
            return Err(StoreError::Nonsense("an entry before itself"));
        }
        next = before.filter(|_| first > after.0.saturating_add(1));
    }
    Ok(rows)
}

fn link(statement: &mut CachedStatement<'_>, row: i64) -> Result<(Option<i64>, u32), StoreError> {
    let found =
        statement.query_row([row], |found| Ok((found.get(0)?, found.get(1)?))).optional()?;
    found.ok_or(MISSING)
}

const MISSING: StoreError = StoreError::Nonsense("an entry is missing");
