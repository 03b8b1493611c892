//! The store on disk.

use std::{path::Path, time::Duration};

use helpline_proto::{
    ids::{CallId, Seq},
    text::LineName,
    time::UnixMillis,
};
use helpline_switchboard::{Entry, OperatorId, Snapshot};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _};

use crate::access::{Access, SecretHash};

use super::{
    Page, Store, StoreError, Write,
    batch::{Batch, Changes},
    belonging,
    chain::each_entry,
    kept,
    live::Live,
    schema,
};

/// The database's file in the data directory.
pub const FILE: &str = "helpline.db";

/// SQLite 3.51.3, as it numbers itself.
const OLDEST: i32 = 3_051_003;

/// Statements kept ready: more than there are.
const STATEMENTS: usize = 64;

/// How long somebody else may write before a commit gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pages of a database that is checked as a whole at start: 128 MiB, more than a million entries. That
/// takes 0.15 s when the system has them in memory, and as long as reading them once when not.
const CHECKED_WHOLE: i64 = 32 * 1024;

/// The store on disk: SQLite with a write-ahead log, synced at every commit.
#[derive(Debug)]
pub struct SqliteStore {
    pub(super) database: Connection,
    line: LineName,
    live: Live,
    /// What was deleted may still be in the log.
    log_remembers: bool,
}

impl SqliteStore {
    /// Opens or makes the database in `directory`, for one line, and records that it was opened at
    /// this time. What it gives back from then on is synced.
    ///
    /// # Errors
    /// It can't be opened, doesn't sync as it has to, or is damaged.
    pub fn open(directory: &Path, line: LineName, at: UnixMillis) -> Result<Self, StoreError> {
        if rusqlite::version_number() < OLDEST {
            return Err(StoreError::TooOld(rusqlite::version()));
        }
        let mut database = Connection::open(directory.join(FILE))?;
        database.set_prepared_statement_cache_capacity(STATEMENTS);
        // Readers hold a lock only for moments; backups and reports may take longer.
        database.busy_timeout(PATIENCE)?;
        database.pragma_update(None, "journal_mode", "wal")?;
        database.pragma_update(None, "synchronous", "full")?;
        // In KiB, below zero. What is written is the end of a table; more would lie there for nothing.
        database.pragma_update(None, "cache_size", -512)?;
        // What is deleted is overwritten.
        database.pragma_update(None, "secure_delete", true)?;
        #[cfg(target_os = "macos")]
        database.pragma_update(None, "fullfsync", true)?;
        expect(&database, "journal_mode", "wal")?;
        expect(&database, "synchronous", "2")?;
        #[cfg(target_os = "macos")]
        expect(&database, "fullfsync", "1")?;
        check(&database)?;
        settle(&database)?;
        schema::migrate(&mut database)?;
        let live = Live::load(&database)?;
        // What a killed server wrote but hadn't synced looks committed. This sync makes it so, before
        // anybody is told of it. It also shows that the disk takes anything at all.
        database.execute("INSERT INTO start (at) VALUES (?)", [at.0])?;
        // It may have been killed before it had emptied the log.
        Ok(Self { database, line, live, log_remembers: true })
    }

    /// Writes a batch in one transaction. Its statements are kept ready, which rusqlite's own are not.
    fn write(&mut self, writes: &[Write]) -> Result<Changes, StoreError> {
        self.run("BEGIN IMMEDIATE").map_err(|error| match error.sqlite_error_code() {
            // Somebody else writes, for longer than is waited. Nothing has begun.
            Some(ErrorCode::DatabaseBusy) => StoreError::RolledBack(error),
            _ => StoreError::Database(error),
        })?;
        let written = Batch::new(&self.database, &self.line, &self.live)
            .write(writes)
            .and_then(|changes| Ok(self.run("COMMIT").map(|()| changes)?));
        if written.is_err() && !self.database.is_autocommit() {
            // Should this fail too, the batch's own failure is what counts.
            let _ = self.run("ROLLBACK");
        }
        written
    }

    fn run(&self, sql: &str) -> rusqlite::Result<()> {
        self.database.prepare_cached(sql)?.execute([]).map(|_| ())
    }
}

impl SqliteStore {
    /// Records a batch. Says whether calls were deleted.
    fn record(&mut self, writes: &[Write]) -> Result<bool, StoreError> {
        let changes = self.write(writes).map_err(|error| match error {
            // No write to the log that failed for lack of room has completed the frame that commits: it
            // is the last that is written, once (a power-safe overwrite needs no padding). A sync never
            // says *full*, and the checkpoint behind a commit keeps its failures to itself.
            StoreError::Database(error)
                if error.sqlite_error_code() == Some(ErrorCode::DiskFull)
                    && self.database.is_autocommit() =>
            {
                StoreError::RolledBack(error)
            }
            error => error,
        })?;
        let has_forgotten = changes.has_forgotten();
        changes.apply(&mut self.live);
        Ok(has_forgotten)
    }

    /// Copies everything out of the log and cuts it off, so that nothing of what was deleted is left in it. A
    /// reader may keep it from that, or a full disk; then it is false.
    fn empty_log(&self) -> Result<bool, StoreError> {
        self.database.busy_timeout(Duration::ZERO)?;
        let is_kept = self
            .database
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        self.database.busy_timeout(PATIENCE)?;
        match is_kept {
            Ok(is_kept) => Ok(!is_kept),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Store for SqliteStore {
    const SHARED: bool = true;

    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let has_forgotten = !writes.is_empty() && self.record(writes)?;
        self.log_remembers |= has_forgotten;
        if self.log_remembers && (has_forgotten || writes.is_empty()) {
            self.log_remembers = !self.empty_log()?;
        }
        Ok(())
    }

    fn page(&mut self, call: CallId, after: Seq, bytes: usize) -> Result<Vec<Entry>, StoreError> {
        let mut page = Page::new(bytes);
        match self.live.calls.get(&call) {
            Some(known) => known.chain.read(&self.database, call, after, &mut page)?,
            None => {
                let last = last_row(&self.database, call)?;
                each_entry(&self.database, call, last, after, |entry| page.take(entry))?;
            }
        }
        Ok(page.entries)
    }

    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        kept::snapshot(&self.database, &self.live)
    }

    fn next_operator(&mut self) -> Result<OperatorId, StoreError> {
        kept::next_operator(&self.database)
    }

    fn access_version(&mut self) -> Result<i64, StoreError> {
        let mut statement = self.database.prepare_cached("PRAGMA data_version")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    fn access(&mut self) -> Result<Access, StoreError> {
        belonging::access(&self.database)
    }

    fn credentials(&mut self) -> Result<Vec<(OperatorId, SecretHash)>, StoreError> {
        belonging::credentials(&self.database)
    }
}

/// Looks whether the database is damaged: all of it, unless that takes too long.
///
/// The calls that go on are gone through in any case, each entry of theirs.
fn check(database: &Connection) -> Result<(), StoreError> {
    let pages: i64 = database.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let parts: &[&str] = match pages {
        // Nothing is in it yet.
        0..=1 => &[],
        2..=CHECKED_WHOLE => {
            // The check reads pages from the last to the first. Read the other way before, they come
            // from a cold disk four times as fast.
            let largest = "SELECT name FROM sqlite_schema WHERE name IN ('block', 'entry')";
            let largest = database.query_row(largest, [], |row| row.get::<_, String>(0));
            if let Some(largest) = largest.optional()? {
                database.query_row(&format!("SELECT count(*) FROM {largest}"), [], |_| Ok(()))?;
            }
            // The number of faults to look for, instead of a table: it is all tables then.
            &["1"]
        }
        _ => &["call", "sign_on"],
    };
    for part in parts {
        let sql = format!("PRAGMA quick_check({part})");
        let found: String = database.query_row(&sql, [], |row| row.get(0))?;
        if found != "ok" {
            return Err(StoreError::Damaged(found));
        }
    }
    Ok(())
}

/// Copies what is in the log to where it belongs, and syncs that.
///
/// After a sync of the log that failed, the system may think of its pages as written though they are
/// not, and no later sync of the log would write them. The copy has pages of its own.
fn settle(database: &Connection) -> Result<(), StoreError> {
    // A reader of something old can keep the last of it in the log.
    Ok(database.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
}

/// The last row of a call that is over.
fn last_row(database: &Connection, call: CallId) -> Result<Option<i64>, StoreError> {
    let mut statement = database.prepare_cached("SELECT last_row FROM call WHERE id = ?")?;
    Ok(statement.query_row([call.0], |row| row.get(0)).optional()?.flatten())
}

fn expect(
    database: &Connection,
    setting: &'static str,
    wanted: &'static str,
) -> Result<(), StoreError> {
    let found: rusqlite::types::Value =
        database.pragma_query_value(None, setting, |row| row.get(0))?;
    let found = match found {
        rusqlite::types::Value::Text(text) => text,
        rusqlite::types::Value::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    if found == wanted { Ok(()) } else { Err(StoreError::Setting { setting, found, wanted }) }
}
