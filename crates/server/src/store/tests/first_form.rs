//! A database of the first form opens, and is right.

use super::*;

const FIRST_FORM: &str = include_str!("first_form.sql");

fn first_form() -> TempDir {
    let directory = directory();
    let database = Connection::open(directory.path().join(DATABASE)).unwrap();
    database.execute_batch(FIRST_FORM).unwrap();
    directory
}

fn call(number: u8) -> CallId {
    let mut id = [0; 16];
    id[0] = number;
    CallId(id)
}

#[test]
fn calls_that_the_first_form_left_open_are_cut_off() {
    let directory = first_form();
    let mut store = open(directory.path());
    let kept = Snapshot { next_number: QueueNumber(4), ..Snapshot::default() };
    assert_eq!(store.snapshot().unwrap(), kept);
    assert_eq!(store.next_operator().unwrap(), OperatorId(3));

    let before = store.page(call(1), Seq(0), WHOLE).unwrap();
    let item = Item::Ended { by: By::Server, why: Why::TimedOut };
    assert_eq!(before.last(), Some(&Entry { seq: Seq(2), at: UnixMillis(1900), item }));
    for (number, last) in [(2, 4), (3, 1)] {
        let entries = store.page(call(number), Seq(0), WHOLE).unwrap();
        let numbers: Vec<_> = entries.iter().map(|entry| entry.seq.0).collect();
        assert_eq!(numbers, (1..=last).collect::<Vec<_>>());
        let item = Item::Ended { by: By::Server, why: Why::TimedOut };
        assert_eq!(entries.last().unwrap().item, item);
    }
    let sql = "SELECT count(*) FROM sign_on WHERE until IS NULL OR until < since";
    assert_eq!(store.database.query_row(sql, [], |row| row.get::<_, i64>(0)), Ok(0));
    let mut ends = Vec::new();
    let reading = Reading::open(&directory.path().join(DATABASE)).unwrap();
    reading
        .calls(|summary| {
            let mut last = None;
            reading.entries(&summary, |entry| {
                last = Some(entry);
                Ok::<_, StoreError>(())
            })?;
            ends.push(summary.closed_at == last.map(|last| last.at));
            Ok::<_, StoreError>(())
        })
        .unwrap();
    assert_eq!(ends, [true; 3]);

    // And it goes on.
    let name = name();
    let (number, ticket, at) = (QueueNumber(4), TicketHash([4; 32]), UnixMillis(5));
    store
        .commit(&[
            Write::Record(Record::Opened { call: call(4), number, ticket, name, at }),
            Write::Entries(Entries::of(
                call(4),
                Entry {
                    seq: Seq(1),
                    at,
                    item: Item::Joined { from: Side::Caller, name: self::name() },
                },
                0,
            )),
        ])
        .unwrap();
    drop(store);
    let mut store = open(directory.path());
    assert_eq!(store.snapshot().unwrap().calls.len(), 1);
    assert_eq!(store.page(call(2), Seq(0), WHOLE).unwrap().len(), 4);
}

#[test]
fn the_first_form_is_read_as_it_is() {
    let directory = first_form();
    let reading = Reading::open(&directory.path().join(DATABASE)).unwrap();
    let mut states = Vec::new();
    reading
        .calls(|call| {
            states.push(call.state);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    assert_eq!(states, [State::Ended, State::Connected, State::Waiting]);
}

#[test]
fn an_empty_database_of_the_first_form_opens() {
    let directory = first_form();
    let database = Connection::open(directory.path().join(DATABASE)).unwrap();
    database.execute_batch("DELETE FROM entry; DELETE FROM call; DELETE FROM sign_on").unwrap();
    drop(database);
    assert_eq!(open(directory.path()).snapshot().unwrap(), Snapshot::default());
}
