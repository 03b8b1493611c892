//! The simulator: the whole line in one thread, with everything going wrong that can, again and again.
//!
//! # The world
//!
//! ```text
//!  people ──► processes ──► wires ──► connections ──► inbox ──► core ──► store in memory
//!  do things   ClientSession  byte      ServerSession   bounded   the     what is durable
//!  and look    a screen       pipes     an Outbox                 real
//!  at screens  reconnecting             frames                    one
//! ```
//!
//! The sessions, the frames, the outboxes, the core and the switchboard are the real ones. Made for the
//! occasion are the network (`net`), the loop around a connection (`conn`, as the server's own), the loop
//! around the core (`server`) and the client's reconnecting (`client`). Time is a number. There is one
//! queue of events, and all chance comes from one seed: the same seed is the same world, to the byte.
//!
//! | what goes wrong | where |
//! |---|---|
//! | bytes late, in pieces, together, not at all for a while, not at all for ever; cut at any byte; reset | `net`, `faults` |
//! | processes killed and started again, machines that die, two processes with one ticket, readers slow or asleep | `client` |
//! | commits slow, refused as the disk is full, failed and lost, failed and kept | `server` |
//! | the server killed before, behind and while telling; its machine without power; stopped and drained | `server` |
//! | wall clocks stepping by a day | `faults` |
//! | a server that repeats entries or leaves some out | `conn` |
//!
//! Each seed has some of these and not the others (`params`). After a while nothing goes wrong any more,
//! everybody comes back and every caller hangs up. All that is typed, shown, recorded and decided is told
//! to the one [checker](helpline_tests::checker), which knows the invariants.
//!
//! # How to use it
//!
//! | variable | what it does |
//! |---|---|
//! | `HELPLINE_SEEDS` | how many seeds, 100,000 by default |
//! | `HELPLINE_MINUTES` | and for how long at most, 6 by default |
//! | `HELPLINE_FIRST` | the first of them, 0 by default |
//! | `HELPLINE_SEED` | this seed only |
//! | `HELPLINE_WORLD` | this world only, as printed by a failure |
//! | `HELPLINE_TRACE_SIM` | prints all that happens |
//! | `HELPLINE_PROOFS` | appends figures to this file |
//! | `HELPLINE_BUG` | plants this bug in the seed or world given, or looks for it alone |

#![cfg(test)]

mod client;
mod conn;
mod coverage;
mod faults;
mod net;
mod params;
mod people;
mod planted;
mod run;
mod server;
mod witness;
mod world;

use std::{env, time::Duration};

use serde_json::json;

use self::{
    params::Params,
    run::{Manner, number, report, run, run_many},
};

/// The least number of seeds after which everything has been seen.
const ENOUGH: u64 = 50_000;

/// The world that the environment asks for.
fn asked_for() -> Option<Params> {
    let world = env::var("HELPLINE_WORLD").ok();
    let world = world.map(|world| world.parse().expect("HELPLINE_WORLD is a world"));
    world.or_else(|| number("HELPLINE_SEED").map(Params::of))
}

#[test]
fn every_promise_is_kept_whatever_happens() {
    let traces = env::var_os("HELPLINE_TRACE_SIM").is_some();
    let manner = Manner { bug: planted::asked_for(), traces, ..Manner::default() };
    if let Some(params) = asked_for() {
        println!("{params}");
        let violation = run(params, manner).violation;
        assert_eq!(violation.map(|violation| violation.to_string()), None);
        return;
    }
    let seeds = number("HELPLINE_SEEDS").unwrap_or(100_000);
    let minutes = number("HELPLINE_MINUTES").unwrap_or(6);
    let first = number("HELPLINE_FIRST").unwrap_or(0);
    let found = run_many(first, seeds, Duration::from_secs(60 * minutes), Manner::default());
    if let Some((params, violation)) = found.failure {
        panic!("{}", report(params, &violation, Manner::default()));
    }
    let seconds = found.took.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = found.seeds as f64 / seconds / found.cores as f64;
    println!(
        "{} seeds, {} events, {seconds:.1} s: {rate:.0} seeds/s a core",
        found.seeds, found.events
    );
    println!("{}", found.coverage.table());
    helpline_tests::figures_of(&json!({
        "proof": "simulator",
        "first": first,
        "seeds": found.seeds,
        "seconds": found.took.as_secs(),
        "per_second_core": rate.round(),
        "coverage": found.coverage.json(),
    }));
    if found.seeds >= ENOUGH {
        assert_eq!(found.coverage.missing(), Vec::<&str>::new(), "never seen");
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 0..30 {
        let world = || run(Params::of(seed), Manner::default());
        let (one, other) = (world(), world());
        assert_eq!((one.events, one.print), (other.events, other.print), "seed {seed}");
    }
}
