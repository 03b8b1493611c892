//! Writes `docs/reliability.md` from the figures of the proofs.
//!
//! The proofs append a JSON object each to the file that `HELPLINE_PROOFS` names; this program takes that file as
//! its argument and prints the page. `scripts/proofs` does both. Of several runs of a proof the last
//! one counts.

#![expect(clippy::expect_used, reason = "whoever calls this wants to know at once")]

use std::{env, fs};

use serde_json::Value;

/// A proof, and what its figures mean.
struct Section {
    proof: &'static str,
    title: &'static str,
    what: &'static str,
    again: &'static str,
    /// The keys of its figures, in order, with what they count.
    figures: &'static [(&'static str, &'static str)],
}

const SECTIONS: &[Section] = &[
    Section {
        proof: "simulator",
        title: "The simulator",
        what: "A whole line in one thread: the real core, switchboard and sessions, a few callers and operators, and \
               a network, a disk, clocks and processes that fail as a seed says. Every commit is compared with \
               what the switchboard believes; every screen with the transcript. When the faults stop, every call \
               has to come to its end within a simulated minute.",
        again: "HELPLINE_SEEDS=100000 cargo test -p helpline-tests --test sim every_promise -- --nocapture",
        figures: &[
            ("seeds", "histories"),
            ("seconds", "seconds"),
            ("per_second_core", "histories a second on one core"),
        ],
    },
    Section {
        proof: "stores",
        title: "Two stores",
        what: "The store on disk and the one of the simulator get the same batches, full disks and restarts, and \
               have to give the same snapshots and pages after every step: so what the simulator proves holds for \
               SQLite.",
        again: "HELPLINE_SEQUENCES=2000 cargo test -p helpline-server --lib twins -- --nocapture",
        figures: &[
            ("sequences", "sequences"),
            ("commits", "commits"),
            ("failed", "of them on a full disk"),
            ("calls_over", "calls that came to their end"),
        ],
    },
    Section {
        proof: "server-kills",
        title: "The server killed",
        what: "`kill -9` at a random instant while everybody talks, and started again on the same data. Everybody \
               comes back by themselves. Nothing said is lost, doubled or out of order, and nobody loses a place.",
        again: "HELPLINE_ROUNDS=150 cargo test -p helpline-tests --test power kills -- --nocapture",
        figures: &[
            ("rounds", "kills"),
            ("said", "lines said"),
            ("entries", "entries kept"),
            ("calls", "calls"),
            ("resumed", "times somebody came back"),
            ("back_p50_ms", "ms from *listening* to being back, median"),
            ("back_p99_ms", "ms from *listening* to being back, 99 of 100"),
        ],
    },
    Section {
        proof: "client-kills",
        title: "Callers and operators killed",
        what: "`kill -9` of the programs `helpline call` and `helpline desk` at a random instant, and started again. \
               Lines that were typed and not said are said once; the new screen shows the conversation so far, then \
               what is new.",
        again: "HELPLINE_CLIENT_KILLS=100 cargo test -p helpline-tests --test power clients -- --nocapture",
        figures: &[
            ("rounds", "kills"),
            ("said", "lines said"),
            ("kept_lines", "of them kept on disk by a killed program"),
            ("calls", "calls"),
            ("resumed", "times a program went on where a killed one was"),
        ],
    },
    Section {
        proof: "power-cuts",
        title: "Power cuts",
        what: "Every write and sync of the release program is recorded. Disks are made of the recording as a power \
               cut at a random instant could have left them: any of the unsynced sectors there or not, files cut \
               short, new names missing. The server is started on each, and has to know everything that anybody \
               had been told. The same with the log's syncs left out has to fail, and does.",
        again: "HELPLINE_CUTS=1000 cargo test -p helpline-tests --test power cuts -- --nocapture",
        figures: &[
            ("cuts", "cuts"),
            ("at_stake", "of them with something written and not synced"),
            ("told", "messages that somebody had been told in the recording"),
            ("syncs", "syncs in it"),
            ("entries", "entries compared"),
            ("resumed", "times somebody came back to what was left"),
            (
                "without_syncs",
                "of 100 further cuts with the log's syncs left out, those that lost something",
            ),
        ],
    },
    Section {
        proof: "proxy",
        title: "A bad network",
        what: "50 callers and 50 operators talk through a proxy that delays, stalls, slices, joins, cuts and resets \
               their connections.",
        again: "HELPLINE_MESSAGES=100000 cargo test -p helpline-tests --test net storm -- --nocapture",
        figures: &[
            ("messages", "lines said"),
            ("calls", "calls"),
            ("connections", "connections"),
            ("cuts", "cuts and resets"),
        ],
    },
    Section {
        proof: "cut-at-every-byte",
        title: "A cut at every byte",
        what: "One conversation, again and again, each time with the connection cut one byte later, on the way to \
               the server and on the way back.",
        again: "cargo test -p helpline-tests --test net every_byte -- --nocapture",
        figures: &[("conversations", "conversations"), ("cuts", "cuts")],
    },
    Section {
        proof: "cable",
        title: "A pulled cable",
        what: "A caller on a network of its own, whose cable is pulled in mid-call and put back.",
        again: "cargo test -p helpline-tests --test net cable -- --nocapture",
        figures: &[
            ("pulled_s", "seconds without a cable"),
            ("said", "lines said"),
            ("away_ms", "ms until the other side read *away*"),
            ("reconnecting_ms", "ms until the caller read *reconnecting*"),
            ("back_ms", "ms from the cable to being back"),
        ],
    },
];

fn main() {
    let file = env::args().nth(1).expect("the file with the figures is the argument");
    let lines = fs::read_to_string(&file).expect("the file can be read");
    let runs: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect();
    println!("{}", page(&runs));
}

fn page(runs: &[Value]) -> String {
    let mut page = String::from(INTRODUCTION);
    for section in SECTIONS {
        let runs: Vec<&Value> = of(runs, section.proof).collect();
        assert!(!runs.is_empty(), "no figures of {}", section.proof);
        page += &format!(
            "\n## {}\n\n{}\n\n```sh\n{}\n```\n\n| | |\n|---|---|\n",
            section.title, section.what, section.again
        );
        // The cable is pulled for two lengths of time; of all others the last run counts.
        let shown = if section.proof == "cable" {
            runs.as_slice()
        } else {
            runs.get(runs.len() - 1..).unwrap_or_default()
        };
        for run in shown {
            for (key, what) in section.figures {
                if !run[key].is_null() {
                    page += &format!("| {what} | {} |\n", figure(&run[key]));
                }
            }
        }
    }
    page + &hostile(runs) + &planted(runs) + &coverage(runs)
}

/// What went wrong in the simulator, and how often.
fn coverage(runs: &[Value]) -> String {
    let mut table = String::from(COVERAGE);
    let counted = of(runs, "simulator").last().and_then(|run| run["coverage"].as_object());
    for (what, times) in counted.into_iter().flatten() {
        table += &format!("| {what} | {} |\n", figure(times));
    }
    table
}

fn of<'a>(runs: &'a [Value], proof: &'a str) -> impl Iterator<Item = &'a Value> {
    runs.iter().filter(move |run| run["proof"] == proof)
}

/// What the line was attacked with, and how the others fared.
fn hostile(runs: &[Value]) -> String {
    let mut table = String::from(HOSTILE);
    let attacks: Vec<&Value> = of(runs, "hostile").collect();
    assert!(!attacks.is_empty(), "no figures of hostile");
    for attack in attacks {
        let text = |key| attack[key].as_str().unwrap_or_default();
        let of = |key: &str| match &attack[key] {
            Value::Null => String::new(),
            number if number.is_u64() => figure(number),
            tenths => tenths.to_string(),
        };
        let cells = ["times", "p50_ms", "p99_ms", "dial_worst_ms", "redials", "grown_mib"].map(of);
        table += &format!("| {} | {} | {} |\n", text("attack"), text("wire"), cells.join(" | "));
    }
    table += HANDSHAKES;
    for run in of(runs, "handshakes") {
        let what = run["what"].as_str().unwrap_or_default();
        table +=
            &format!("| {what} | {} | {} |\n", figure(&run["each_us"]), figure(&run["a_second"]));
    }
    table
}

fn planted(runs: &[Value]) -> String {
    let mut table = String::from(PLANTED);
    for run in of(runs, "planted") {
        let bug = run["bug"].as_str().unwrap_or_default();
        table += &format!(
            "| {bug} | {} | {} |\n",
            figure(&run["seeds"]),
            run["invariant"].as_str().unwrap_or_default()
        );
    }
    table
}

/// A number with its thousands apart.
fn figure(value: &Value) -> String {
    let whole = value.as_u64().map(|number| number.to_string());
    let Some(digits) = whole.or_else(|| value.as_f64().map(|number| format!("{number:.0}"))) else {
        return value.to_string();
    };
    let mut apart = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

const INTRODUCTION: &str = "# What has been proved, in figures

This page is made by `scripts/proofs`, which runs everything below and takes the figures from it; nothing here is
written by hand. In every run the same holds: **0 lines said were lost, 0 were shown twice on one screen, 0 came
out of order, and no place was lost.** A run in which one is prints how to do it again, and fails.

What the words mean: a line is *said* when the program shows it as said, and *not said* when it says so. Each proof
is judged by the same checker (`tests/harness/checker.rs`) against the transcripts in the database. These are its
rules; the simulator sees all of them, the proofs with the real programs those that can be seen from outside (1, 2, 3, 5, 7, 8, 10, 12).

| rule | |
|---|---|
| I1 | what is shown as said is recorded, and everything is recorded once |
| I2 | each screen is a prefix of the transcript, and equal to it at the end |
| I3 | what one speaker said is recorded in the order in which it was typed |
| I4 | nothing is heard before it is recorded |
| I5 | what is said in a call reaches that call and nobody else |
| I6 | first come, first served, among those who are there |
| I7 | no place is lost within the grace |
| I8 | a caller has at most one operator, an operator at most one call, a party one connection |
| I9 | nobody is admitted while as many wait as there are places |
| I10 | what isn't recorded is shown as not said |
| I11 | every buffer has a bound |
| I12 | when nothing goes wrong any more, every call ends and every screen is complete |

`scripts/soak` does the same with larger numbers.
";

const COVERAGE: &str = "
## What went wrong in the simulator

So often in the run above. A run of that size in which one of these is 0 fails: it would have proved less.

| | times |
|---|---|
";

const HOSTILE: &str = "
## Hostile peers

The release program is attacked, in plaintext and under TLS, while one call goes on that asks and answers every
50 ms, and somebody dials in every 500 ms with the real program over TLS. Everybody who dials in gets in, the few who
made room for a newer connection when they call again; the program never ends, and the call's answers come in less
than a second, 99 of 100 times. The attackers have no machine of their own; those with many threads let the others go
first on its cores (nice 19).

```sh
cargo test -p helpline-tests --test hostile -- --nocapture
```

| attack | wire | times | ms to an answer and back, median | 99 of 100 | ms until somebody was in, worst | called again | MiB more |
|---|---|---|---|---|---|---|---|
";

const HANDSHAKES: &str = "
What TLS costs the server, in processor time:

| | µs each | a second and core |
|---|---|---|
";

const PLANTED: &str = "
## Would it have been seen?

A proof that finds nothing may be blind. So bugs are planted in the line, one at a time, and the simulator has to
find each within 5,000 histories. They stand behind a feature that no release can be built with.

```sh
cargo test -p helpline-tests --test sim planted -- --nocapture
```

| the bug | histories until it is found | by invariant |
|---|---|---|
";
