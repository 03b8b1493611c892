//! Bugs that are planted, to show that the checker would see them.

use std::{
    env,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use helpline_proto::planted::Bug;
use helpline_tests::checker::Violation;
use serde_json::json;

use crate::{
    params::Params,
    run::{Manner, run},
};

/// Within so many seeds every bug is found.
const SEEDS: u64 = 5_000;

/// The bug that the environment names.
pub(crate) fn asked_for() -> Option<Bug> {
    let name = env::var("HELPLINE_BUG").ok()?;
    let bug = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
    Some(bug.unwrap_or_else(|| panic!("no bug is called {name}")))
}

/// The first seed that shows a bug, counted from 1, and what it shows. The twelve invariants alone have to see it.
fn find(bug: Bug) -> Option<(u64, Violation)> {
    let manner = Manner { bug: Some(bug), blind: true, traces: false };
    (0..SEEDS).find_map(|seed| {
        let violation = run(Params::of(seed), manner).violation?;
        // What fails without the bug, too, shows something else.
        let sound = run(Params::of(seed), Manner { bug: None, ..manner }).violation.is_none();
        sound.then_some((seed + 1, violation))
    })
}

#[test]
fn every_planted_bug_is_found() {
    let bugs: Vec<Bug> = asked_for().map_or(Bug::ALL.to_vec(), |bug| vec![bug]);
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(bug) = bugs.get(next.fetch_add(1, Relaxed)) {
                    let result = find(*bug);
                    found.lock().unwrap_or_else(PoisonError::into_inner).push((*bug, result));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(bug, _)| *bug);
    println!("{:<28}{:>6}  broken promise", "planted bug", "seeds");
    for (bug, result) in &found {
        match result {
            Some((seeds, violation)) => {
                println!("{:<28}{seeds:>6}  {violation}", format!("{bug:?}"));
                helpline_tests::figures_of(&json!({
                    "proof": "planted",
                    "bug": format!("{bug:?}"),
                    "seeds": seeds,
                    "invariant": violation.invariant.to_string(),
                    "detail": violation.detail,
                }));
            }
            None => println!("{:<28}{:>6}  none", format!("{bug:?}"), "-"),
        }
    }
    let missed: Vec<Bug> =
        found.iter().filter(|(_, result)| result.is_none()).map(|(bug, _)| *bug).collect();
    assert_eq!(missed, [], "not found within {SEEDS} seeds");
}
