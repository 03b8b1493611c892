//! A database of the third form, a row an entry, opens in the middle of its calls.

use rusqlite::params;
use rusqlite_migration::{M, Migrations};

use super::{super::schema, *};

/// Two calls whose entries stand between each other: the first goes on, the second is over and seen.
fn third_form() -> TempDir {
    let directory = directory();
    let mut database = Connection::open(directory.path().join(DATABASE)).unwrap();
    let forms = vec![M::up(schema::FIRST), M::up(schema::SECOND), M::up(schema::THIRD)];
    Migrations::new(forms).to_latest(&mut database).unwrap();
    for (number, state, last_row) in [(1_u8, 0, None), (2, 2, Some(6))] {
        database
            .execute(
                "INSERT INTO call (number, id, line, ticket, name, opened_at, state, closed_at,
                                   first_row, last_row)
                 VALUES (?, ?, 'main', zeroblob(32), 'Xiaowen', 1, ?, 3, ?, ?)",
                params![number, id(number.into()).0, state, number, last_row],
            )
            .unwrap();
    }
    // Row, call, seq, kind, nonce, text, why.
    let entries = [
        (1, 1, 1, 1, Some(1), Some("one"), None),
        (2, 2, 1, 1, Some(1), Some("another's"), None),
        (3, 1, 2, 1, Some(2), Some("two"), None),
        (6, 2, 2, 4, None, None, Some(1)),
        (7, 1, 3, 1, Some(3), Some("three"), None),
    ];
    for (row, call, seq, kind, nonce, text, why) in entries {
        let name = text.map(|_| "Xiaowen");
        database
            .execute(
                "INSERT INTO entry VALUES (?, ?, ?, 4, ?, 1, ?, ?, ?, ?)",
                params![row, call, seq, kind, name, nonce, text, why],
            )
            .unwrap();
    }
    directory
}

#[test]
fn calls_of_the_third_form_go_on_with_every_entry() {
    let directory = third_form();
    let mut store = open(directory.path());
    let before = [(1, "one"), (2, "two"), (3, "three")]
        .map(|(seq, text)| said(1, seq, Side::Caller, seq, text));
    let all = entries(&before, 1);
    for after in 0..=3 {
        let seq = Seq(u32::try_from(after).unwrap());
        assert_eq!(store.page(id(1), seq, WHOLE).unwrap(), all[after..]);
    }
    let over = [said(2, 1, Side::Caller, 1, "another's"), ended(2, 2)];
    assert_eq!(store.page(id(2), Seq(0), WHOLE).unwrap(), entries(&over, 2));
    let kept = store.snapshot().unwrap();
    assert_eq!(kept.next_number, QueueNumber(3));
    let [call] = &kept.calls[..] else { panic!("{:?}", kept.calls) };
    assert_eq!((call.call, call.last_seq, call.caller_next), (id(1), Seq(3), Nonce(4)));

    // And it goes on, behind what was there, also for the next process.
    store.commit(&[said(1, 4, Side::Caller, 4, "four")]).unwrap();
    let (_elsewhere, mut again) = killed(directory.path());
    assert_eq!(again.page(id(1), Seq(0), WHOLE).unwrap().len(), 4);
    assert_eq!(again.page(id(1), Seq(3), WHOLE).unwrap().len(), 1);
}
