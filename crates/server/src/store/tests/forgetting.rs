//! What is to be kept no longer is gone, and nothing else.

use std::fs;

use super::*;

const CANARY: &str = "a-line-that-must-not-be-found-again";

/// A call of three entries that ended, at time 3, and was seen by its caller.
fn over(call: u64, text: &str) -> Vec<Write> {
    vec![
        opened(call),
        said(call, 1, Side::Caller, 1, text),
        said(call, 2, Side::Caller, 2, "two"),
        closed(call),
        ended(call, 3),
        done(call, Side::Caller),
    ]
}

fn tidy(store: &mut SqliteStore, before: i64) {
    let ended_before = Some(UnixMillis(before));
    store.commit(&[Write::Tidy { now: UnixMillis(0), ended_before }]).unwrap();
}

fn calls(directory: &Path) -> usize {
    let mut calls = 0;
    Reading::open(&directory.join(DATABASE))
        .unwrap()
        .calls(|_| {
            calls += 1;
            Ok::<_, StoreError>(())
        })
        .unwrap();
    calls
}

/// Whether any file of the database has these bytes.
fn is_found(directory: &Path, text: &str) -> bool {
    fs::read_dir(directory).unwrap().any(|file| {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

/// Two calls that are over, and somebody who reads them.
fn read_by_somebody(directory: &Path) -> (SqliteStore, Connection) {
    let mut store = open(directory);
    store.commit(&over(1, CANARY)).unwrap();
    store.commit(&over(2, "two")).unwrap();
    let reader = Connection::open(directory.join(DATABASE)).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM block;").unwrap();
    (store, reader)
}

#[test]
fn calls_that_are_over_for_long_are_gone_from_every_file() {
    let directory = directory();
    let mut store = open(directory.path());
    store.commit(&over(1, CANARY)).unwrap();
    store.commit(&over(2, "later")).unwrap();
    store.commit(&[opened(3), said(3, 1, Side::Caller, 1, "still here")]).unwrap();
    assert!(is_found(directory.path(), CANARY));
    tidy(&mut store, 3);
    assert_eq!(calls(directory.path()), 3, "not old enough");
    tidy(&mut store, 4);
    assert_eq!(calls(directory.path()), 1);
    assert!(!is_found(directory.path(), CANARY));
    assert_eq!(store.page(id(3), Seq(0), WHOLE).unwrap().len(), 1);
    let (_elsewhere, mut again) = killed(directory.path());
    assert_eq!(again.page(id(3), Seq(0), WHOLE).unwrap().len(), 1);
}

#[test]
fn what_goes_on_and_what_is_unseen_stays() {
    let directory = directory();
    let mut store = open(directory.path());
    let mut unseen = over(1, "unseen");
    unseen.pop();
    store.commit(&unseen).unwrap();
    store.commit(&[opened(2), said(2, 1, Side::Caller, 1, "waiting")]).unwrap();
    store.commit(&over(3, "last")).unwrap();
    let before = store.snapshot().unwrap();
    tidy(&mut store, i64::MAX);
    assert_eq!(store.snapshot().unwrap(), before);
    assert_eq!(calls(directory.path()), 3, "the last call stays, with the last entry");
    let (_elsewhere, mut again) = killed(directory.path());
    assert_eq!(again.snapshot().unwrap(), before);
    assert_eq!(again.page(id(1), Seq(0), WHOLE).unwrap().len(), 3);
}

#[test]
fn a_call_without_entries_finds_its_own_after_everything_before_it_is_gone() {
    let directory = directory();
    let mut store = open(directory.path());
    store.commit(&over(1, "one")).unwrap();
    store.commit(&over(2, "two")).unwrap();
    store.commit(&[opened(3)]).unwrap();
    tidy(&mut store, i64::MAX);
    // The process is killed, and another one goes on: with row numbers above those of before.
    let (_elsewhere, mut store) = killed(directory.path());
    store.commit(&[said(3, 1, Side::Caller, 1, "hello")]).unwrap();
    let (_elsewhere, mut again) = killed(_elsewhere.path());
    assert_eq!(again.page(id(3), Seq(0), WHOLE).unwrap().len(), 1);
    assert_eq!(again.snapshot().unwrap().next_number, QueueNumber(4));
}

#[test]
fn a_reader_holds_up_nobody() {
    let directory = directory();
    let (mut store, _reader) = read_by_somebody(directory.path());
    let begun = std::time::Instant::now();
    tidy(&mut store, i64::MAX);
    assert!(begun.elapsed().as_secs() < 3, "the core waited for a reader");
    store.commit(&[opened(3)]).unwrap();
}

#[test]
fn what_a_reader_kept_in_the_log_is_gone_soon_after_it_has_left() {
    let directory = directory();
    let (mut store, reader) = read_by_somebody(directory.path());
    tidy(&mut store, i64::MAX);
    store.commit(&[]).unwrap();
    assert!(is_found(directory.path(), CANARY), "somebody reads it");
    reader.execute_batch("COMMIT").unwrap();
    store.commit(&[opened(3)]).unwrap();
    store.commit(&[]).unwrap();
    assert!(!is_found(directory.path(), CANARY));
}

#[test]
fn what_was_deleted_just_before_a_kill_is_gone_from_the_log_after_the_next_start() {
    let directory = directory();
    let (mut store, _reader) = read_by_somebody(directory.path());
    tidy(&mut store, i64::MAX);
    let (elsewhere, mut again) = killed(directory.path());
    assert!(is_found(elsewhere.path(), CANARY), "the log is as it was");
    again.commit(&[]).unwrap();
    assert!(!is_found(elsewhere.path(), CANARY));
}
