//! The store on disk.

use std::{collections::HashMap, path::Path, time::Duration};

use helpline_proto::{
    ids::{By, CallId, Seq},
    text::LineName,
    time::UnixMillis,
};
use helpline_switchboard::{Entry, Item, OperatorId, QueueNumber, Record, Why};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Next, Store, StoreError, Write, rows, schema, weight};

/// The database's file in the data directory.
pub const FILE: &str = "helpline.db";

/// SQLite 3.51.3, as it numbers itself.
const OLDEST: i32 = 3_051_003;

/// Statements kept ready: more than there are.
const STATEMENTS: usize = 32;

/// What is known in memory of a call that isn't over.
#[derive(Debug)]
struct OpenCall {
    number: i64,
    /// The row of each entry, by rising seq.
    rows: Vec<i64>,
}

/// The store on disk: SQLite with a write-ahead log, synced at every commit.
#[derive(Debug)]
pub struct SqliteStore {
    database: Connection,
    line: LineName,
    next_row: i64,
    open: HashMap<CallId, OpenCall>,
}

impl SqliteStore {
    /// Opens or makes the database in `directory`, for one line.
    ///
    /// # Errors
    /// It can't be opened, or doesn't sync as it has to.
    pub fn open(directory: &Path, line: LineName) -> Result<Self, StoreError> {
        if rusqlite::version_number() < OLDEST {
            return Err(StoreError::TooOld(rusqlite::version()));
        }
        let mut database = Connection::open(directory.join(FILE))?;
        database.set_prepared_statement_cache_capacity(STATEMENTS);
        // Readers hold a lock only for moments; backups and reports may take longer.
        database.busy_timeout(Duration::from_secs(5))?;
        database.pragma_update(None, "journal_mode", "wal")?;
        database.pragma_update(None, "synchronous", "full")?;
        #[cfg(target_os = "macos")]
        database.pragma_update(None, "fullfsync", true)?;
        expect(&database, "journal_mode", "wal")?;
        expect(&database, "synchronous", "2")?;
        #[cfg(target_os = "macos")]
        expect(&database, "fullfsync", "1")?;
        schema::migrate(&mut database)?;
        let next_row =
            database
                .query_row("SELECT coalesce(max(row), 0) + 1 FROM entry", [], |row| row.get(0))?;
        Ok(Self { database, line, next_row, open: HashMap::new() })
    }

    /// Where counting goes on.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn next(&self) -> Result<Next, StoreError> {
        let next = |sql| self.database.query_row(sql, [], |row| row.get::<_, i64>(0));
        Ok(Next {
            number: QueueNumber(unsigned(next("SELECT coalesce(max(number), 0) + 1 FROM call")?)?),
            operator: OperatorId(unsigned(next(
                "SELECT coalesce(max(number), 0) + 1 FROM sign_on",
            )?)?),
        })
    }

    /// Ends what an earlier process left open, as it was killed or lost its power: those who
    /// talked are no longer connected. Returns how many calls that were.
    ///
    /// # Errors
    /// The database can't be read or written.
    pub fn end_left_open(&mut self, at: UnixMillis) -> Result<usize, StoreError> {
        let mut calls = HashMap::new();
        {
            let mut statement = self.database.prepare(
                "SELECT number, id, first_row FROM call WHERE state <> 2 ORDER BY number",
            )?;
            let mut found = statement.query([])?;
            while let Some(row) = found.next()? {
                calls.insert(row.get::<_, i64>(0)?, (CallId(row.get(1)?), row.get::<_, i64>(2)?));
            }
        }
        if let Some(oldest) = calls.values().map(|(_, first_row)| *first_row).min() {
            let mut statement =
                self.database.prepare("SELECT call, row FROM entry WHERE row >= ? ORDER BY row")?;
            let mut found = statement.query([oldest])?;
            while let Some(row) = found.next()? {
                let number = row.get(0)?;
                if let Some((id, _)) = calls.get(&number) {
                    let open = OpenCall { number, rows: Vec::new() };
                    self.open.entry(*id).or_insert(open).rows.push(row.get(1)?);
                }
            }
        }
        let mut writes = Vec::new();
        for (id, open) in &self.open {
            let last = u32::try_from(open.rows.len())
                .map_err(|_| StoreError::Nonsense("a call with too many entries"))?;
            let item = Item::Ended { by: By::Server, why: Why::Lost };
            writes.push(Write::Record(Record::Closed { call: *id, at }));
            writes.push(Write::Entry(*id, Entry { seq: Seq(last.saturating_add(1)), at, item }));
        }
        self.commit(&writes)?;
        self.database.execute("UPDATE sign_on SET until = ? WHERE until IS NULL", [at.0])?;
        Ok(calls.len())
    }

    fn write(
        transaction: &Transaction<'_>,
        line: &LineName,
        next_row: &mut i64,
        open: &mut HashMap<CallId, OpenCall>,
        write: &Write,
    ) -> Result<(), StoreError> {
        match write {
            Write::Entry(call, entry) => {
                let known = open
                    .get_mut(call)
                    .ok_or(StoreError::Nonsense("an entry of an unknown call"))?;
                let columns = rows::Columns::of(&entry.item);
                transaction
                    .prepare_cached(
                        "INSERT INTO entry (row, call, seq, at, kind, side, name, nonce, text, why)
                         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    )?
                    .execute(params![
                        *next_row,
                        known.number,
                        entry.seq.0,
                        entry.at.0,
                        columns.kind,
                        columns.side,
                        columns.name,
                        columns.nonce,
                        columns.text,
                        columns.why
                    ])?;
                known.rows.push(*next_row);
                if matches!(entry.item, Item::Ended { .. }) {
                    transaction
                        .prepare_cached("UPDATE call SET last_row = ? WHERE number = ?")?
                        .execute([*next_row, known.number])?;
                    open.remove(call);
                }
                *next_row += 1;
            }
            Write::Record(record) => Self::record(transaction, line, *next_row, open, record)?,
            Write::Refused(more) => {
                transaction
                    .prepare_cached(
                        "INSERT INTO count (line, refused) VALUES (?1, ?2)
                         ON CONFLICT (line) DO UPDATE SET refused = refused + ?2",
                    )?
                    .execute(params![line.as_str(), more])?;
            }
        }
        Ok(())
    }

    fn record(
        transaction: &Transaction<'_>,
        line: &LineName,
        next_row: i64,
        open: &mut HashMap<CallId, OpenCall>,
        record: &Record,
    ) -> Result<(), StoreError> {
        let number_of = |call: &CallId| {
            let open = open.get(call);
            open.map(|open| open.number).ok_or(StoreError::Nonsense("a record of an unknown call"))
        };
        match record {
            Record::Opened { call, number, ticket, name, at } => {
                let number = signed(number.0)?;
                transaction
                    .prepare_cached(
                        "INSERT INTO call (number, id, line, ticket, name, opened_at, state, first_row)
                         VALUES (?, ?, ?, ?, ?, ?, 0, ?)",
                    )?
                    .execute(params![
                        number,
                        call.0,
                        line.as_str(),
                        ticket.0,
                        name.as_str(),
                        at.0,
                        next_row
                    ])?;
                open.insert(*call, OpenCall { number, rows: Vec::new() });
            }
            Record::Answered { call, operator, at } => {
                transaction
                    .prepare_cached(
                        "UPDATE call SET state = 1, operator = ?, answered_at = coalesce(answered_at, ?)
                         WHERE number = ?",
                    )?
                    .execute([signed(operator.0)?, at.0, number_of(call)?])?;
            }
            Record::PutBack { call } => {
                transaction
                    .prepare_cached("UPDATE call SET state = 0 WHERE number = ?")?
                    .execute([number_of(call)?])?;
            }
            Record::Closed { call, at } => {
                transaction
                    .prepare_cached("UPDATE call SET state = 2, closed_at = ? WHERE number = ?")?
                    .execute([at.0, number_of(call)?])?;
            }
            Record::SignedOn { operator, ticket, name, at } => {
                transaction
                    .prepare_cached(
                        "INSERT INTO sign_on (number, ticket, name, since) VALUES (?, ?, ?, ?)",
                    )?
                    .execute(params![signed(operator.0)?, ticket.0, name.as_str(), at.0])?;
            }
            Record::SignedOff { operator, at } => {
                transaction
                    .prepare_cached("UPDATE sign_on SET until = ? WHERE number = ?")?
                    .execute([at.0, signed(operator.0)?])?;
            }
            Record::Refused => {}
        }
        Ok(())
    }
}

impl Store for SqliteStore {
    /// After an error what is known in memory may be ahead of the database: the store is of no
    /// more use then.
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let transaction = self.database.transaction()?;
        for write in writes {
            Self::write(&transaction, &self.line, &mut self.next_row, &mut self.open, write)?;
        }
        Ok(transaction.commit()?)
    }

    fn page(&mut self, call: CallId, after: Seq, bytes: usize) -> Result<Vec<Entry>, StoreError> {
        let mut page = Vec::new();
        let mut size = 0;
        let mut take = |entry: Entry| {
            size += weight(&entry);
            page.push(entry);
            size < bytes
        };
        if let Some(open) = self.open.get(&call) {
            let sql = format!("SELECT {} FROM entry WHERE row = ?", rows::COLUMNS);
            let mut statement = self.database.prepare_cached(&sql)?;
            let skip = usize::try_from(after.0).unwrap_or(usize::MAX);
            for row in open.rows.iter().skip(skip) {
                let mut found = statement.query([row])?;
                let row = found.next()?.ok_or(StoreError::Nonsense("an entry is missing"))?;
                if !take(rows::read(row)?) {
                    break;
                }
            }
        } else if let Some((number, first, last)) = ended(&self.database, call)? {
            each_entry(&self.database, number, first, last, after, take)?;
        }
        Ok(page)
    }
}

fn ended(database: &Connection, call: CallId) -> Result<Option<(i64, i64, i64)>, StoreError> {
    Ok(database
        .prepare_cached(
            "SELECT number, first_row, last_row FROM call WHERE id = ? AND last_row > 0",
        )?
        .query_row([call.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?)
}

/// Reads the entries of a call among the rows from `first` to `last`, until `take` has enough.
pub(super) fn each_entry(
    database: &Connection,
    number: i64,
    first: i64,
    last: i64,
    after: Seq,
    mut take: impl FnMut(Entry) -> bool,
) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT {} FROM entry WHERE row BETWEEN ? AND ? AND call = ? AND seq > ? ORDER BY row",
        rows::COLUMNS
    );
    let mut statement = database.prepare_cached(&sql)?;
    let mut found = statement.query(params![first, last, number, after.0])?;
    while let Some(row) = found.next()? {
        if !take(rows::read(row)?) {
            break;
        }
    }
    Ok(())
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

fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Nonsense("a number beyond all counting"))
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Nonsense("a number below zero"))
}

#[cfg(test)]
mod tests {
    use helpline_proto::{
        ids::{Nonce, Side},
        text::{Name, Text},
    };
    use helpline_switchboard::TicketHash;

    use super::*;

    fn open(directory: &Path) -> SqliteStore {
        SqliteStore::open(directory, LineName::new("main").unwrap()).unwrap()
    }

    fn opened(number: u8) -> Vec<Write> {
        let name = Name::new("Xiaowen").unwrap();
        let call = CallId([number; 16]);
        vec![
            Write::Record(Record::Opened {
                call,
                number: QueueNumber(number.into()),
                ticket: TicketHash([number; 32]),
                name: name.clone(),
                at: UnixMillis(1),
            }),
            entry(number, 1, Item::Joined { from: Side::Caller, name }),
        ]
    }

    fn said(call: u8, seq: u32, text: &str) -> Write {
        let name = Name::new("Xiaowen").unwrap();
        let text = Text::new(text).unwrap();
        entry(call, seq, Item::Said { from: Side::Caller, name, nonce: Nonce(seq - 1), text })
    }

    fn ended(call: u8, seq: u32) -> Vec<Write> {
        let record = Record::Closed { call: CallId([call; 16]), at: UnixMillis(3) };
        let item = Item::Ended { by: By::Caller, why: Why::Bye };
        vec![Write::Record(record), entry(call, seq, item)]
    }

    fn entry(call: u8, seq: u32, item: Item) -> Write {
        Write::Entry(CallId([call; 16]), Entry { seq: Seq(seq), at: UnixMillis(2), item })
    }

    fn entries(writes: &[Write], call: u8) -> Vec<Entry> {
        let of_call = |write: &Write| match write {
            Write::Entry(id, entry) if *id == CallId([call; 16]) => Some(entry.clone()),
            _ => None,
        };
        writes.iter().filter_map(of_call).collect()
    }

    #[test]
    fn what_is_written_reads_back_while_the_call_is_open_and_after() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let mut writes = [opened(1), opened(2)].concat();
        for seq in 2..20 {
            writes.extend([said(1, seq, "one\0\u{1b}[2J"), said(2, seq, "二")]);
        }
        store.commit(&writes).unwrap();
        let call = CallId([1; 16]);
        assert_eq!(store.page(call, Seq(0), 1 << 20).unwrap(), entries(&writes, 1));
        assert_eq!(store.page(call, Seq(17), 1 << 20).unwrap(), entries(&writes, 1)[17..]);
        assert_eq!(store.page(call, Seq(0), 1).unwrap().len(), 1);
        let end = ended(1, 20);
        store.commit(&end).unwrap();
        let all = entries(&[writes, end].concat(), 1);
        assert_eq!(store.page(call, Seq(0), 1 << 20).unwrap(), all);
        assert_eq!(store.page(call, Seq(19), 1 << 20).unwrap(), all[19..]);
        assert_eq!(store.page(CallId([9; 16]), Seq(0), 1 << 20).unwrap(), []);
    }

    #[test]
    fn calls_left_open_by_a_killed_server_are_ended_as_lost() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        store
            .commit(&[opened(1), opened(2), ended(1, 2), vec![said(2, 2, "hello")]].concat())
            .unwrap();
        drop(store);
        let mut store = open(directory.path());
        assert_eq!(store.end_left_open(UnixMillis(9)).unwrap(), 1);
        let call = store.page(CallId([2; 16]), Seq(0), 1 << 20).unwrap();
        let item = Item::Ended { by: By::Server, why: Why::Lost };
        assert_eq!(call.last(), Some(&Entry { seq: Seq(3), at: UnixMillis(9), item }));
        assert_eq!(store.end_left_open(UnixMillis(9)).unwrap(), 0);
        assert_eq!(store.next().unwrap().number, QueueNumber(3));
    }

    #[test]
    fn counts_of_refused_callers_add_up() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        store.commit(&[Write::Refused(2)]).unwrap();
        store.commit(&[Write::Refused(3)]).unwrap();
        let sql = "SELECT refused FROM count WHERE line = 'main'";
        assert_eq!(store.database.query_row(sql, [], |row| row.get::<_, i64>(0)), Ok(5));
    }

    #[test]
    fn a_database_of_a_later_version_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        store.database.pragma_update(None, "user_version", 99).unwrap();
        drop(store);
        let again = SqliteStore::open(directory.path(), LineName::new("main").unwrap());
        assert!(matches!(again, Err(StoreError::Migration(_))));
    }
}
