//! What is kept comes back: after a restart, a kill, a full disk, and from the first form.

mod belonging;
mod damage;
mod first_form;
mod forgetting;
mod full;
mod third_form;
mod twins;

use std::path::{Path, PathBuf};

use helpline_proto::{
    ids::{Answering, By, CallId, Nonce, Seq, Side},
    text::{LineName, Name, Text},
    time::UnixMillis,
};
use helpline_switchboard::{
    Entry, Item, KeptCall, KeptOperator, KeptState, OperatorId, Presence, QueueNumber, Record,
    Snapshot, TicketHash, Why,
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    DATABASE, SqliteStore, Store, StoreError, Write, kept, live,
    reading::{Reading, State},
};
use crate::entries::Entries;

const WHOLE: usize = usize::MAX;

/// A directory in memory, if there is such a thing.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("helpline-").tempdir_in(parent).unwrap()
}

fn try_open(directory: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(directory, LineName::new("main").unwrap(), UnixMillis(7))
}

fn open(directory: &Path) -> SqliteStore {
    try_open(directory).unwrap()
}

/// What is on the disk at this instant, opened as after a kill.
fn killed(directory: &Path) -> (TempDir, SqliteStore) {
    let elsewhere = self::directory();
    for file in [PathBuf::from(DATABASE), format!("{DATABASE}-wal").into()] {
        if directory.join(&file).exists() {
            std::fs::copy(directory.join(&file), elsewhere.path().join(&file)).unwrap();
        }
    }
    let store = open(elsewhere.path());
    (elsewhere, store)
}

fn name() -> Name {
    Name::new("Xiaowen").unwrap()
}

fn id(call: u64) -> CallId {
    let mut id = [0xa5; 16];
    id[..8].copy_from_slice(&call.to_be_bytes());
    CallId(id)
}

fn opened(call: u64) -> Write {
    let ticket = TicketHash([call.to_be_bytes()[7]; 32]);
    let (number, at) = (QueueNumber(call), UnixMillis(1));
    Write::Record(Record::Opened { call: id(call), number, ticket, name: name(), at })
}

fn signed_on(operator: u64) -> Write {
    Write::Record(Record::SignedOn {
        operator: OperatorId(operator),
        ticket: TicketHash([operator.to_be_bytes()[7]; 32]),
        name: name(),
        answering: if operator.is_multiple_of(2) { Answering::ByHand } else { Answering::ByItself },
        at: UnixMillis(2),
    })
}

fn answered(call: u64, operator: u64, at: i64) -> Write {
    let (operator, at) = (OperatorId(operator), UnixMillis(at));
    Write::Record(Record::Answered { call: id(call), operator, at })
}

fn put_back(call: u64) -> Write {
    Write::Record(Record::PutBack { call: id(call) })
}

fn closed(call: u64) -> Write {
    Write::Record(Record::Closed { call: id(call), at: UnixMillis(3) })
}

fn done(call: u64, side: Side) -> Write {
    Write::Record(Record::Done { call: id(call), side })
}

fn entry(call: u64, seq: u32, item: Item) -> Write {
    Write::Entries(Entries::of(id(call), Entry { seq: Seq(seq), at: UnixMillis(4), item }, 0))
}

fn said(call: u64, seq: u32, from: Side, nonce: u32, text: &str) -> Write {
    let text = Text::new(text).unwrap();
    entry(call, seq, Item::Said { from, name: name(), nonce: Nonce(nonce), text })
}

fn ended(call: u64, seq: u32) -> Write {
    entry(call, seq, Item::Ended { by: By::Caller, why: Why::Bye })
}

fn entries(writes: &[Write], call: u64) -> Vec<Entry> {
    let of_call = |write: &Write| match write {
        Write::Entries(entries) if entries.call() == id(call) => entries.read().unwrap(),
        _ => Vec::new(),
    };
    writes.iter().flat_map(of_call).collect()
}

#[test]
fn what_is_written_reads_back_while_the_call_is_open_and_after() {
    let directory = directory();
    let mut store = open(directory.path());
    let mut writes = vec![opened(1), opened(2)];
    for seq in 1..20 {
        writes.push(said(1, seq, Side::Caller, seq, "one\0\u{1b}[2J"));
        writes.push(said(2, seq, Side::Caller, seq, "二"));
    }
    store.commit(&writes).unwrap();
    assert_eq!(store.page(id(1), Seq(0), WHOLE).unwrap(), entries(&writes, 1));
    assert_eq!(store.page(id(1), Seq(17), WHOLE).unwrap(), entries(&writes, 1)[17..]);
    assert_eq!(store.page(id(1), Seq(0), 1).unwrap().len(), 1);
    let ends = [closed(1), ended(1, 20)];
    writes.extend(ends.clone());
    store.commit(&ends).unwrap();
    for end in [vec![], vec![done(1, Side::Caller)]] {
        store.commit(&end).unwrap();
        let all = entries(&writes, 1);
        assert_eq!(store.page(id(1), Seq(0), WHOLE).unwrap(), all);
        assert_eq!(store.page(id(1), Seq(19), WHOLE).unwrap(), all[19..]);
    }
    assert_eq!(store.page(id(9), Seq(0), WHOLE).unwrap(), []);
}

#[test]
fn everything_a_line_needs_comes_back_after_a_kill() {
    let directory = directory();
    let mut store = open(directory.path());
    assert_eq!(store.snapshot().unwrap(), Snapshot::default());
    assert_eq!(store.next_operator().unwrap(), OperatorId(1));
    let batches = [
        vec![opened(1), opened(2), opened(3), opened(4), opened(5), signed_on(4), signed_on(5)],
        vec![said(1, 1, Side::Caller, 1, "hello"), answered(1, 4, 50), signed_on(7)],
        vec![said(1, 2, Side::Operator, 1, "yes?"), said(1, 3, Side::Operator, 2, "hello")],
        vec![put_back(1), answered(1, 5, 60), answered(2, 7, 61), answered(5, 7, 62)],
        vec![closed(2), ended(2, 1), done(2, Side::Caller), closed(3), ended(3, 1)],
        vec![done(3, Side::Caller), closed(5), ended(5, 1), done(5, Side::Operator)],
        vec![
            Write::Record(Record::Chose { operator: OperatorId(4), presence: Presence::Break }),
            Write::Record(Record::SignedOff { operator: OperatorId(5), at: UnixMillis(70) }),
        ],
    ];
    for batch in batches {
        store.commit(&batch).unwrap();
    }
    let operator = |number: u8, answering, presence| KeptOperator {
        operator: OperatorId(number.into()),
        ticket: TicketHash([number; 32]),
        name: name(),
        answering,
        presence,
    };
    let call = |number: u8, state, answered, last: u32| KeptCall {
        call: id(number.into()),
        number: QueueNumber(number.into()),
        ticket: TicketHash([number; 32]),
        name: name(),
        since: UnixMillis(1),
        state,
        answered,
        last_seq: Seq(last),
        caller_next: Nonce(1),
        operator_next: Nonce(1),
    };
    let connected = KeptState::Connected { operator: OperatorId(5), since: UnixMillis(60) };
    let kept = Snapshot {
        next_number: QueueNumber(6),
        operators: vec![
            operator(4, Answering::ByHand, Presence::Break),
            operator(7, Answering::ByItself, Presence::Available),
        ],
        calls: vec![
            KeptCall {
                caller_next: Nonce(2),
                operator_next: Nonce(3),
                ..call(1, connected, true, 3)
            },
            call(2, KeptState::Ended { caller: false, operator: Some(OperatorId(7)) }, true, 1),
            call(4, KeptState::Waiting, false, 0),
            call(5, KeptState::Ended { caller: true, operator: None }, true, 1),
        ],
    };
    assert_eq!(store.snapshot().unwrap(), kept);
    let (elsewhere, mut again) = killed(directory.path());
    assert_eq!(again.snapshot().unwrap(), kept);
    assert_eq!(again.next_operator().unwrap(), OperatorId(8));
    // All of it is where it belongs, and not only in the log that the killed server wrote.
    let database = self::directory();
    std::fs::copy(elsewhere.path().join(DATABASE), database.path().join(DATABASE)).unwrap();
    assert_eq!(open(database.path()).snapshot().unwrap(), kept);
    let page = store.page(id(1), Seq(0), WHOLE).unwrap();
    assert_eq!(again.page(id(1), Seq(0), WHOLE).unwrap(), page);
    again.commit(&[said(1, 4, Side::Caller, 2, "still there")]).unwrap();
    drop(again);
    assert_eq!(open(elsewhere.path()).page(id(1), Seq(0), WHOLE).unwrap().len(), 4);
}

#[test]
fn a_batch_that_breaks_the_rules_is_refused_whole() {
    let directory = directory();
    let mut store = open(directory.path());
    store
        .commit(&[opened(1), said(1, 1, Side::Caller, 1, "one"), opened(2), closed(2), ended(2, 1)])
        .unwrap();
    let kept = store.snapshot().unwrap();
    let broken = [
        said(1, 2, Side::Caller, 2, "the same number twice"),
        said(1, 3, Side::Caller, 1, "the same nonce twice"),
        said(1, 4, Side::Caller, 2, "a number skipped"),
        said(3, 1, Side::Caller, 1, "in no call"),
        said(2, 2, Side::Caller, 1, "after the end"),
        ended(2, 2),
        opened(1),
        answered(2, 1, 9),
        put_back(1),
        closed(2),
        done(1, Side::Caller),
        Write::Record(Record::Chose { operator: OperatorId(9), presence: Presence::Break }),
        Write::Record(Record::SignedOff { operator: OperatorId(9), at: UnixMillis(9) }),
    ];
    for write in broken {
        let batch = [opened(3), said(1, 2, Side::Caller, 2, "two"), write];
        let batch = if let Write::Entries(entries) = &batch[2]
            && entries.call() == id(3)
        {
            &batch[1..]
        } else {
            &batch[..]
        };
        let error = store.commit(batch).unwrap_err();
        assert!(!error.is_rolled_back(), "{error}");
        assert_eq!(store.snapshot().unwrap(), kept, "{:?}", batch.last());
        assert_eq!(killed(directory.path()).1.snapshot().unwrap(), kept);
    }
    store.commit(&[said(1, 2, Side::Caller, 2, "two")]).unwrap();
}

#[test]
fn the_entries_of_a_long_call_are_found_from_any_of_them() {
    let directory = directory();
    let mut store = open(directory.path());
    store.commit(&[opened(1), opened(2)]).unwrap();
    let mut all = Vec::new();
    let mut next = 1;
    for row in 0..150 {
        // One, two or three entries a row, and rows of another call between them.
        let of = |nonce| Entry {
            seq: Seq(nonce),
            at: UnixMillis(4),
            item: Item::Said {
                from: Side::Caller,
                name: name(),
                nonce: Nonce(nonce),
                text: Text::new("a line").unwrap(),
            },
        };
        let mut entries = Entries::of(id(1), of(next), 0);
        for nonce in next + 1..=next + row % 3 {
            entries.push(of(nonce));
        }
        next = entries.last().0 + 1;
        all.extend(entries.read().unwrap());
        let other = said(2, row + 1, Side::Caller, row + 1, "another's");
        store.commit(&[Write::Entries(entries), other]).unwrap();
    }
    let (_elsewhere, again) = killed(directory.path());
    for mut store in [store, again] {
        for after in 0..=all.len() {
            let seq = Seq(u32::try_from(after).unwrap());
            assert_eq!(store.page(id(1), seq, WHOLE).unwrap(), all[after..], "after {after}");
            let page = store.page(id(1), seq, 1000).unwrap();
            assert_eq!(page[..], all[after..][..page.len()]);
            assert!(page.len() < 10 && (!page.is_empty() || after == all.len()));
        }
    }
}

#[test]
fn counts_of_refused_callers_add_up() {
    let directory = directory();
    let mut store = open(directory.path());
    store.commit(&[Write::Refused(2)]).unwrap();
    store.commit(&[Write::Refused(3)]).unwrap();
    let sql = "SELECT refused FROM count WHERE line = 'main'";
    assert_eq!(store.database.query_row(sql, [], |row| row.get::<_, i64>(0)), Ok(5));
}

#[test]
fn a_database_of_a_later_version_is_left_alone() {
    let directory = directory();
    let store = open(directory.path());
    store.database.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    assert!(matches!(try_open(directory.path()), Err(StoreError::Migration(_))));
}

#[test]
fn every_start_is_recorded_before_anything_is_given_back() {
    let directory = directory();
    drop(open(directory.path()));
    // In the write-ahead log, which only a sync can have followed.
    let (_elsewhere, store) = killed(directory.path());
    let sql = "SELECT count(*) FROM start WHERE at = 7";
    assert_eq!(store.database.query_row(sql, [], |row| row.get::<_, i64>(0)), Ok(2));
}

#[test]
fn calls_and_operators_that_go_on_are_found_without_going_through_all() {
    let directory = directory();
    let store = open(directory.path());
    let operators = "SELECT number FROM sign_on WHERE until IS NULL ORDER BY number";
    for (sql, index) in [
        (kept::calls_sql(), "live_call"),
        (live::calls_sql(), "live_call"),
        (operators.into(), "signed_on"),
    ] {
        let sql = format!("EXPLAIN QUERY PLAN {sql}");
        let plan: String = store.database.query_row(&sql, [], |row| row.get(3)).unwrap();
        assert!(plan.contains(index), "{plan}");
    }
}

#[test]
fn somebody_else_who_writes_for_too_long_is_a_batch_rolled_back() {
    let directory = directory();
    let mut store = open(directory.path());
    store.database.busy_timeout(std::time::Duration::from_millis(1)).unwrap();
    let other = Connection::open(directory.path().join(DATABASE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(store.commit(&[opened(1)]).unwrap_err().is_rolled_back());
    other.execute_batch("ROLLBACK").unwrap();
    store.commit(&[opened(1)]).unwrap();
    assert_eq!(store.snapshot().unwrap().calls.len(), 1);
}

#[test]
fn calls_are_looked_at_beside_the_server() {
    let directory = directory();
    let mut store = open(directory.path());
    let writes = [
        vec![opened(1), opened(2), opened(3), opened(4), signed_on(1), answered(2, 1, 5)],
        vec![answered(3, 1, 5), said(3, 1, Side::Operator, 1, "hello")],
        vec![closed(3), ended(3, 2), closed(4), ended(4, 1), done(4, Side::Caller)],
    ]
    .concat();
    store.commit(&writes).unwrap();
    let reading = Reading::open(&directory.path().join(DATABASE)).unwrap();
    let mut calls = Vec::new();
    reading
        .calls(|call| {
            calls.push(call);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    let states: Vec<_> = calls.iter().map(|call| call.state).collect();
    assert_eq!(states, [State::Waiting, State::Connected, State::Ended, State::Ended]);
    let mut found = Vec::new();
    reading
        .entries(&calls[2], |entry| {
            found.push(entry);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    assert_eq!(found, entries(&writes, 3));
}
