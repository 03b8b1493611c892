//! The server killed with -9 while everybody talks, again and again on one data directory.

use std::{
    thread,
    time::{Duration, Instant},
};

use helpline_server::store::DATABASE;
use helpline_tests::{
    Manner, PATIENCE, Proof, Server, Talkers, Transcripts, dice::Dice, percentile,
};
use serde_json::json;

/// How soon somebody is back on the line after the server is, for 99 of a hundred.
const PROMISED: Duration = Duration::from_secs(3);

/// Kills on one data directory; more of them begin with a new one. Ends that a caller didn't wait to see are
/// kept for a grace that begins anew at each start, so they would only ever become more.
const LEG: usize = 50;

const CALLERS: usize = 6;
const OPERATORS: usize = 3;

/// Calls of a few dozen lines, of which a few are under way at once.
const MANNER: Manner = Manner { lines: 50, at_once: 4 };

/// The last moment of a kill, in milliseconds after everybody is back.
const LATEST: usize = 300;

/// The longest time without a server, in milliseconds.
const LONGEST: usize = 2500;

/// One server and its kills.
struct Leg {
    server: Server,
    talkers: Talkers,
    dice: Dice,
    /// When it was killed, and when it listened again.
    kills: Vec<(Instant, Instant)>,
}

#[test]
fn a_killed_server_goes_on_where_it_was() {
    let mut proof = Proof::begin("server-kills");
    let rounds = proof.times("HELPLINE_ROUNDS", 150);
    let (mut done, mut back, mut kept) = (0, Vec::new(), (0, 0, 0));
    while done < rounds {
        let kills = LEG.min(rounds - done);
        let mut leg = Leg::begin(Dice::new(proof.seed(), done));
        for _ in 0..kills {
            leg.kill();
        }
        done += kills;
        back.extend(leg.back());
        let left = leg.end();
        kept = (kept.0 + left.entries(), kept.1 + left.said(), kept.2 + left.calls.len());
    }
    let resumed = back.len();
    let (p50, p99) = (percentile(&mut back, 50), percentile(&mut back, 99));
    assert!(
        resumed >= rounds,
        "hardly anybody was on the line when the server was killed: {resumed}"
    );
    assert!(kept.1 >= rounds, "hardly anything was said: {kept:?}");
    assert!(p99 < 10 * PROMISED, "back on the line only after {p99:?}");
    proof.holds(&[
        ("rounds", json!(rounds)),
        ("entries", json!(kept.0)),
        ("said", json!(kept.1)),
        ("calls", json!(kept.2)),
        ("resumed", json!(resumed)),
        ("back_p50_ms", json!(p50.as_millis())),
        ("back_p99_ms", json!(p99.as_millis())),
    ]);
}

impl Leg {
    fn begin(mut dice: Dice) -> Self {
        let server = Server::with().says(0).places(100).start();
        let mut talkers = Talkers::new();
        for _ in 0..OPERATORS {
            talkers.operator(server.address(), &mut dice, MANNER);
        }
        for _ in 0..CALLERS {
            talkers.caller(server.address(), &mut dice, MANNER);
        }
        Self { server, talkers, dice, kills: Vec::new() }
    }

    fn kill(&mut self) {
        // Most kills come before the last one is back from the one before.
        match self.dice.below(10) {
            0 => self.talkers.wait_until_back(0),
            1..5 => self.talkers.wait_until_back((CALLERS + OPERATORS) / 2),
            _ => {}
        }
        thread::sleep(self.dice.millis(LATEST));
        let killed = Instant::now();
        self.server.crash();
        if self.dice.chance(5) {
            thread::sleep(self.dice.millis(LONGEST));
        }
        self.server = self.server.again().start();
        self.kills.push((killed, Instant::now()));
    }

    /// How long everybody took to be back on the line, from the moment the server listened again.
    fn back(&self) -> Vec<Duration> {
        self.talkers.wait_until_back(0);
        let mut took = Vec::new();
        for (since, resumed) in self.talkers.resumed() {
            // The last start before it was back; a kill in between makes it wait for the next one.
            let start = self.kills.iter().rev().find(|(killed, _)| *killed <= resumed);
            let Some((killed, listened)) = start else { continue };
            if since >= *killed || self.kills.iter().any(|(killed, _)| since < *killed) {
                took.push(resumed.saturating_duration_since(*listened));
            }
        }
        took
    }

    /// Everybody finishes, and all that was said is kept.
    fn end(mut self) -> Transcripts {
        self.talkers.finish(2 * PATIENCE);
        let file = self.server.data().join(DATABASE);
        let kept = self.talkers.judge(&file);
        kept.unwrap_or_else(|violation| panic!("{violation}"))
    }
}
