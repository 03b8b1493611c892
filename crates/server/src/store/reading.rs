//! Reading back what is kept, beside a running server or without one.

use std::path::Path;

use helpline_proto::{
    ids::{CallId, Seq},
    time::UnixMillis,
};
use helpline_switchboard::Entry;
use rusqlite::{Connection, OpenFlags, Row};

use super::{StoreError, chain::each_entry};

/// What is known of a call beside its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which call.
    pub call: CallId,
    /// The line it came to.
    pub line: String,
    /// The caller's name.
    pub name: String,
    /// The name of the operator who answered last.
    pub operator: Option<String>,
    /// When the caller was admitted.
    pub opened_at: UnixMillis,
    /// When somebody first answered.
    pub answered_at: Option<UnixMillis>,
    /// When it ended.
    pub closed_at: Option<UnixMillis>,
    /// Where it stands.
    pub state: State,
    number: i64,
    first_row: i64,
    last_row: Option<i64>,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In the queue.
    Waiting,
    /// With an operator.
    Connected,
    /// Over.
    Ended,
}

/// The database, to look at.
#[derive(Debug)]
pub struct Reading(Connection);

const SUMMARY: &str = "
    SELECT call.id, call.line, call.name, sign_on.name, call.opened_at, call.answered_at,
           call.closed_at, call.state, call.number, call.first_row, call.last_row
    FROM call LEFT JOIN sign_on ON sign_on.number = call.operator";

impl Reading {
    /// Opens the database file.
    ///
    /// # Errors
    /// It can't be read.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        // Not read-only: a reader may have to make the shared memory of the write-ahead log.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(file, flags)?;
        database.pragma_update(None, "query_only", true)?;
        Ok(Self(database))
    }

    /// Goes through every call in the order of arrival.
    ///
    /// # Errors
    /// They can't be read, or `each` failed.
    pub fn calls<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(Summary) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |error: rusqlite::Error| E::from(StoreError::from(error));
        let sql = format!("{SUMMARY} ORDER BY call.number");
        let mut statement = self.0.prepare(&sql).map_err(failed)?;
        let mut found = statement.query([]).map_err(failed)?;
        while let Some(row) = found.next().map_err(failed)? {
            each(summary(row)?)?;
        }
        Ok(())
    }

    /// Finds the calls whose identifier begins with these hexadecimal digits, at most two.
    ///
    /// # Errors
    /// They can't be read.
    pub fn find(&self, digits: &str) -> Result<Vec<Summary>, StoreError> {
        let sql = format!("{SUMMARY} WHERE substr(lower(hex(call.id)), 1, ?) = lower(?) LIMIT 2");
        let mut statement = self.0.prepare(&sql)?;
        let digits_len = i64::try_from(digits.len()).unwrap_or(i64::MAX);
        let mut found = statement.query(rusqlite::params![digits_len, digits])?;
        let mut summaries = Vec::new();
        while let Some(row) = found.next()? {
            summaries.push(summary(row)?);
        }
        Ok(summaries)
    }

    /// Goes through the entries of a call, in order.
    ///
    /// # Errors
    /// They can't be read, or `each` failed.
    pub fn entries<E: From<StoreError>>(
        &self,
        summary: &Summary,
        mut each: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let last = match summary.last_row {
            Some(last) => Some(last),
            None => self.last_row(summary)?,
        };
        let mut failed = None;
        each_entry(&self.0, summary.call, last, Seq(0), |entry| {
            failed = each(entry).err();
            failed.is_none()
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// The last row so far of a call that goes on.
    fn last_row(&self, summary: &Summary) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT max(row) FROM block WHERE row >= ? AND call = ?";
        let bounds = [summary.first_row, summary.number];
        Ok(self.0.query_row(sql, bounds, |row| row.get(0))?)
    }
}

fn summary(row: &Row<'_>) -> Result<Summary, StoreError> {
    let state = match row.get(7)? {
        0 => State::Waiting,
        1 => State::Connected,
        2 => State::Ended,
        _ => return Err(StoreError::Nonsense("a call in no state")),
    };
    Ok(Summary {
        call: CallId(row.get(0)?),
        line: row.get(1)?,
        name: row.get(2)?,
        operator: row.get(3)?,
        opened_at: UnixMillis(row.get(4)?),
        answered_at: row.get::<_, Option<i64>>(5)?.map(UnixMillis),
        closed_at: row.get::<_, Option<i64>>(6)?.map(UnixMillis),
        state,
        number: row.get(8)?,
        first_row: row.get(9)?,
        last_row: row.get(10)?,
    })
}
