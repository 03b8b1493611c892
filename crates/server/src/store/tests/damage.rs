//! A damaged database is refused, and never makes the server panic.

use super::{twins::Dice, *};

fn calls() -> TempDir {
    let directory = directory();
    let mut store = open(directory.path());
    let mut writes = vec![signed_on(1), opened(1), closed(1), ended(1, 1), done(1, Side::Caller)];
    writes.extend((2..6).map(opened));
    for seq in 1..40 {
        writes.extend((2..6).map(|call| said(call, seq, Side::Caller, seq, "what is said")));
    }
    writes.extend([answered(3, 1, 9), answered(4, 1, 9), closed(4), ended(4, 40)]);
    store.commit(&writes).unwrap();
    directory
}

#[test]
fn what_cannot_be_is_refused() {
    let damages = [
        "DELETE FROM block WHERE call = 2 AND first = 7",
        "DELETE FROM block WHERE call = 4 AND first = 40",
        "UPDATE block SET call = 99 WHERE call = 2 AND first = 39",
        "UPDATE block SET call = -1 WHERE call = 2 AND first = 39",
        "UPDATE block SET call = 3 WHERE call = 2 AND first = 7",
        "UPDATE block SET first = 6 WHERE call = 2 AND first = 7",
        "UPDATE block SET first = -1 WHERE call = 2 AND first = 7",
        "UPDATE block SET before = before + 1 WHERE call = 2 AND first = 7",
        "UPDATE block SET before = NULL WHERE call = 2 AND first = 7",
        "UPDATE block SET frames = x'' WHERE call = 2 AND first = 7",
        "UPDATE block SET frames = x'ff' WHERE call = 2 AND first = 7",
        "UPDATE block SET frames = CAST(frames || frames AS BLOB) WHERE call = 2 AND first = 7",
        "UPDATE block SET frames = substr(frames, 1, length(frames) - 1) WHERE call = 2 AND first = 7",
        "UPDATE block SET frames = (SELECT frames FROM block WHERE call = 2 AND first = 6)
            WHERE call = 2 AND first = 7",
        "UPDATE block SET frames = (SELECT frames FROM block WHERE call = 3 AND first = 7)
            WHERE call = 2 AND first = 7",
        "UPDATE block SET row = 9223372036854775807 WHERE row = (SELECT max(row) FROM block)",
        "UPDATE call SET state = 2, caller_unseen = 1 WHERE number = 2",
        "UPDATE call SET state = 0 WHERE number = 4",
        "UPDATE call SET state = 7 WHERE number = 2",
        "UPDATE call SET last_row = 1 WHERE number = 4",
        "UPDATE call SET id = x'00' WHERE number = 2",
        "UPDATE call SET operator = NULL WHERE number = 3",
        "UPDATE call SET connected_at = NULL WHERE number = 3",
        "UPDATE call SET name = '' WHERE number = 3",
        "UPDATE call SET ticket = x'' WHERE number = 3",
        "UPDATE call SET number = -3 WHERE number = 3",
        "UPDATE sign_on SET answering = 3",
        "UPDATE sign_on SET presence = NULL",
        "UPDATE sign_on SET number = 9223372036854775807",
    ];
    for damage in damages {
        let directory = calls();
        let database = Connection::open(directory.path().join(DATABASE)).unwrap();
        assert_eq!(database.execute(damage, []), Ok(1), "{damage}");
        drop(database);
        let found = try_open(directory.path())
            .and_then(|mut store| store.snapshot().and_then(|_| store.next_operator()));
        assert!(found.is_err(), "{damage}");
    }
}

#[test]
fn a_page_that_is_lost_is_seen_wherever_it_is() {
    let directory = calls();
    let mut store = open(directory.path());
    let goes_on = store.snapshot().unwrap().calls;
    for call in goes_on {
        let number = call.number.0;
        let end = match call.state {
            KeptState::Ended { .. } => vec![],
            _ => vec![closed(number), ended(number, 40)],
        };
        store.commit(&end).unwrap();
        store.commit(&[done(number, Side::Operator), done(number, Side::Caller)]).unwrap();
    }
    assert_eq!(store.snapshot().unwrap().calls, []);
    drop(store);
    let file = directory.path().join(DATABASE);
    let whole = std::fs::read(&file).unwrap();
    for page in 1..whole.len() / 4096 {
        let mut damaged = whole.clone();
        damaged[page * 4096..][..4096].fill(0);
        std::fs::write(&file, damaged).unwrap();
        assert!(try_open(directory.path()).is_err(), "page {page}");
    }
    std::fs::write(&file, whole).unwrap();
    open(directory.path());
}

#[test]
fn no_damage_makes_it_panic() {
    let (whole, mut refused) = (calls(), 0);
    let whole = std::fs::read(whole.path().join(DATABASE)).unwrap();
    for seed in 0..400 {
        let mut dice = Dice::new(seed);
        let mut damaged = whole.clone();
        if dice.below(8) == 0 {
            damaged.truncate(dice.below(whole.len()));
        }
        for _ in 0..=dice.below(40) {
            let at = dice.below(whole.len());
            let with = dice.below(256).to_le_bytes()[0];
            if let Some(byte) = damaged.get_mut(at) {
                *byte = with;
            }
        }
        let directory = directory();
        std::fs::write(directory.path().join(DATABASE), damaged).unwrap();
        let found = try_open(directory.path()).and_then(|mut store| {
            let snapshot = store.snapshot()?;
            for call in snapshot.calls.iter().map(|call| call.call).chain((1..6).map(id)) {
                store.page(call, Seq(0), WHOLE)?;
            }
            store.commit(&[opened(snapshot.next_number.0)])?;
            Ok(())
        });
        if let Err(error) = found {
            refused += 1;
            assert!(!error.to_string().is_empty());
        }
    }
    assert!(refused > 100, "only {refused} of 400 were seen");
}
