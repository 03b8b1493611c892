//! The server killed with -9 while everybody talks, again and again on one data directory.

use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};

use helpline_proto::{
    code::Why,
    ids::{By, CallId},
};
use helpline_server::store::DATABASE;
use helpline_tests::Server;

use crate::{
    dice::{self, Dice},
    ledger::{KeptCall, Ledger},
    load::{Heard, Load},
};

/// The last moment of a kill, in milliseconds after the load begins.
const LATEST: usize = 300;

#[test]
fn a_killed_server_keeps_everything_it_told() {
    let seed = dice::seed();
    let rounds = dice::times("HELPLINE_ROUNDS", 150);
    let begun = Instant::now();
    let mut server = Server::with().says(0).start();
    let file = server.data().join(DATABASE);
    let (mut ledger, mut settled, mut lost) = (Ledger::default(), 0, 0);
    for round in 0..rounds {
        let mut dice = Dice::new(seed, round);
        let load = Load::start(server.address(), &mut dice, usize::MAX);
        thread::sleep(Duration::from_millis(dice.below(LATEST + 1).try_into().unwrap()));
        server.crash();
        let heard = load.join();
        server = server.again().start();

        let told = told(&heard);
        let kept = KeptCall::read(&file, settled)
            .and_then(|kept| told.check(&kept, usize::MAX).map(|()| kept))
            .unwrap_or_else(|finding| panic!("HELPLINE_SEED={seed}, round {round}: {finding}"));
        lost += ended_as_lost(&kept, &heard);
        settled += kept.len();
        for message in heard.iter().flat_map(|heard| &heard.messages) {
            ledger.note(round, message);
        }
    }
    // Nothing that was kept after one kill was undone by a later one.
    let kept = KeptCall::read(&file, 0).unwrap();
    ledger.check(&kept, usize::MAX).unwrap();
    assert_eq!(kept.len(), settled);
    let entries: usize = kept.iter().map(|call| call.entries.len()).sum();
    println!(
        "{rounds} kills in {:.1?}: {} entries told, {entries} kept in {settled} calls, {lost} of them cut off",
        begun.elapsed(),
        ledger.len(),
    );
    assert!(ledger.len() > rounds, "hardly anything was told");
    assert!(lost > rounds / 2, "hardly a call was open when the server was killed");
}

/// What everybody was told in a round, each of it in order.
fn told(heard: &[Heard]) -> Ledger {
    let mut ledger = Ledger::default();
    for message in heard.iter().flat_map(|heard| &heard.messages) {
        ledger.note(0, message);
    }
    ledger
}

/// Every call is over after the next start; one that nobody hung up was cut off. Counts these.
fn ended_as_lost(kept: &[KeptCall], heard: &[Heard]) -> usize {
    let hung_up: HashSet<CallId> = heard.iter().flat_map(|heard| &heard.hung_up).copied().collect();
    let cut_off = (By::Server, Why::LOST);
    for call in kept {
        assert!(call.over, "{call:?}");
        if !hung_up.contains(&call.call) {
            assert_eq!(call.end(), Some(cut_off), "{call:?}");
        }
    }
    kept.iter().filter(|call| call.end() == Some(cut_off)).count()
}
