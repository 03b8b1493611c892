//! Runs worlds: one, many beside each other, or smaller and smaller ones that still fail.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use helpline_proto::planted::{Bug, plant};
use helpline_tests::checker::{Invariant, Violation};

use crate::{
    coverage::Coverage,
    params::Params,
    world::{Outcome, World},
};

/// How a world is run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// A bug that is planted.
    pub(crate) bug: Option<Bug>,
    /// The core's state isn't compared with the store's: the twelve invariants alone have to see.
    pub(crate) blind: bool,
    /// Everything that happens is printed.
    pub(crate) traces: bool,
}

/// Runs one world, from its beginning to its end.
pub(crate) fn run(params: Params, manner: Manner) -> Outcome {
    plant(manner.bug);
    let world = || World::new(params, !manner.blind, manner.traces).run();
    let outcome = catch_unwind(AssertUnwindSafe(world));
    plant(None);
    outcome.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        let detail = said.unwrap_or_else(|| "a panic".into());
        let violation = Some(Violation { invariant: Invariant::Panic, detail });
        Outcome { violation, coverage: Coverage::default(), events: 0, print: 0 }
    })
}

/// What a run of many worlds found.
pub(crate) struct Found {
    pub(crate) seeds: u64,
    pub(crate) took: Duration,
    pub(crate) cores: usize,
    pub(crate) events: u64,
    pub(crate) coverage: Coverage,
    pub(crate) failure: Option<(Params, Violation)>,
}

/// Runs the worlds of so many seeds from `first` on, for a while at most, on all cores, until one fails.
pub(crate) fn run_many(first: u64, seeds: u64, within: Duration, manner: Manner) -> Found {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let total = Mutex::new((0, 0, Coverage::default(), None::<(Params, Violation)>));
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut coverage = Coverage::default();
                let (mut done, mut events) = (0, 0);
                let mut failure = None;
                while !stop.load(Relaxed) && begun.elapsed() < within {
                    let at = next.fetch_add(1, Relaxed);
                    if at >= seeds {
                        break;
                    }
                    let params = Params::of(first.wrapping_add(at));
                    let outcome = run(params, manner);
                    done += 1;
                    events += outcome.events;
                    coverage.add(&outcome.coverage);
                    if let Some(violation) = outcome.violation {
                        failure = Some((params, violation));
                        stop.store(true, Relaxed);
                    }
                }
                let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                total.0 += done;
                total.1 += events;
                total.2.add(&coverage);
                let sooner = failure.filter(|(params, _)| {
                    total.3.as_ref().is_none_or(|(other, _)| params.seed < other.seed)
                });
                total.3 = sooner.or(total.3.take());
            });
        }
    });
    let (seeds, events, coverage, failure) =
        total.into_inner().unwrap_or_else(PoisonError::into_inner);
    Found { seeds, took: begun.elapsed(), cores, events, coverage, failure }
}

/// How many other seeds a smaller world is tried with.
const TRIES: u64 = 8;

/// Finds a smaller world that breaks the same promise.
pub(crate) fn shrink(
    mut params: Params,
    mut violation: Violation,
    manner: Manner,
    within: Duration,
) -> (Params, Violation) {
    let begun = Instant::now();
    loop {
        let smaller = params.smaller().into_iter().filter(|world| world.size() < params.size());
        let seeds = smaller.flat_map(|world| {
            (0..TRIES).map(move |more| Params { seed: world.seed.wrapping_add(more), ..world })
        });
        let found = seeds.take_while(|_| begun.elapsed() < within).find_map(|world| {
            let found = run(world, Manner { traces: false, ..manner }).violation?;
            (found.invariant == violation.invariant).then_some((world, found))
        });
        match found {
            Some((world, found)) => (params, violation) = (world, found),
            None => return (params, violation),
        }
    }
}

/// A number from the environment.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let given = env::var(variable).ok()?;
    Some(given.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Tells of a world that failed, all there is to tell.
pub(crate) fn report(params: Params, violation: &Violation, manner: Manner) -> String {
    println!("\nseed {} fails: {violation}\n  {params}", params.seed);
    let (small, found) = shrink(params, violation.clone(), manner, Duration::from_secs(30));
    println!("\nthe smallest world found that fails alike: {found}\n  {small}\n");
    run(small, Manner { traces: true, ..manner });
    format!(
        "{violation}\n\
         again: HELPLINE_SEED={} HELPLINE_TRACE_SIM=1 cargo test -p helpline-tests --test sim\n\
         small: HELPLINE_WORLD='{small}' HELPLINE_TRACE_SIM=1 cargo test -p helpline-tests --test sim",
        params.seed,
    )
}
