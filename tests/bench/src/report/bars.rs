//! What Helpline has to reach, and what it reached in this run.

use crate::figures::{Figures, Of, keys};

use super::{
    figure, main_size,
    section::{BARE, BARE_TLS, HELPLINE, HELPLINE_TLS, LOG, RELAY},
};

/// One thing to reach.
struct Bar {
    what: String,
    allowed: String,
    reached: Option<f64>,
    holds: fn(f64, f64) -> bool,
    limit: f64,
}

fn at_most(reached: f64, limit: f64) -> bool {
    reached <= limit
}

fn at_least(reached: f64, limit: f64) -> bool {
    reached >= limit
}

fn below(reached: f64, limit: f64) -> bool {
    reached < limit
}

/// The table of all of them.
pub(super) fn table(figures: &Figures) -> String {
    let mut table = String::from("| | bar | reached | |\n|---|---|---|---|\n");
    for Bar { what, allowed, reached, holds, limit } in all(figures) {
        let (reached, verdict) = match reached {
            None => ("not measured".to_owned(), ""),
            Some(reached) if holds(reached, limit) => (figure(reached), "yes"),
            Some(reached) => (figure(reached), "**no**"),
        };
        table += &format!("| {what} | {allowed} | {reached} | {verdict} |\n");
    }
    table
}

fn all(figures: &Figures) -> Vec<Bar> {
    let sized = |work| main_size(figures, work).unwrap_or(0);
    let of = |work, who, key| Of { work, who, size: sized(work), key };
    let ratio = |work, key, who, to| figures.ratio(of(work, who, key), of(work, to, key));
    let most = |what: String, allowed: &str, limit, reached| Bar {
        what,
        allowed: format!("≤ {allowed}"),
        reached,
        holds: at_most,
        limit,
    };
    let least = |what: String, allowed: &str, limit, reached| Bar {
        what,
        allowed: format!("≥ {allowed}"),
        reached,
        holds: at_least,
        limit,
    };
    let mut bars = Vec::new();

    let about = |what: &str, work| format!("{what} ({} pairs)", figure(sized(work) as f64));
    let cpu = |to| ratio("stream", keys::CPU, HELPLINE, to);
    bars.push(most(about("stream, CPU: × L5", "stream"), "5", 5.0, cpu(LOG)));
    let rate = ratio("stream", keys::RATE, HELPLINE, "Redis Streams, always");
    bars.push(least("stream, rate: × Redis Streams, always".into(), "2", 2.0, rate));
    for rival in ["NATS", "Redis pub/sub", "InspIRCd"] {
        bars.push(Bar {
            what: format!("stream, CPU: × {rival}, which records nothing"),
            allowed: "< 1".into(),
            reached: cpu(rival),
            holds: below,
            limit: 1.0,
        });
    }

    let one = |key| ratio("one", key, HELPLINE, LOG);
    bars.push(least(about("one in flight, rate: × L5", "one"), "1.0", 1.0, one(keys::RATE)));
    bars.push(most("one in flight, CPU: × L5".into(), "1.3", 1.3, one(keys::CPU)));
    bars.push(most("one in flight, p50: × L5".into(), "1.2", 1.2, one(keys::P50)));
    bars.push(most(
        "one pair in turns, p50: × (L1 + 2 syncs of a page × 1.25)".into(),
        "1",
        1.0,
        turns(figures),
    ));

    let connections = figure(sized("idle") as f64);
    let idle = |who, key| figures.median(of("idle", who, key));
    let each = format!("idle, resident KiB each ({connections} connections)");
    bars.push(most(each.clone(), "2.0", 2.0, idle(HELPLINE, keys::KIB_EACH)));
    bars.push(most(format!("{each}, TLS"), "12", 12.0, idle(HELPLINE_TLS, keys::KIB_EACH)));
    for (who, tls) in [(HELPLINE, ""), (HELPLINE_TLS, ", TLS")] {
        let busy = idle(who, keys::CORE).map(|part| part * 100.0);
        let what = format!("idle, CPU, % of a core ({connections} connections){tls}");
        bars.push(most(what, "1", 1.0, busy));
    }

    let storm = |who, to| ratio("storm", keys::CPU_MS, who, to);
    bars.push(most(
        "connect storm, CPU: × L1 raw answers".into(),
        "2.0",
        2.0,
        storm(HELPLINE, BARE),
    ));
    bars.push(most(
        "connect storm, CPU: TLS × bare rustls".into(),
        "1.3",
        1.3,
        storm(HELPLINE_TLS, BARE_TLS),
    ));

    let start = |size| figures.median(Of { work: "start", who: HELPLINE, size, key: keys::TOOK });
    bars.push(most("start, ms, nothing kept".into(), "50", 50.0, start(0)));
    let kept = figures.sizes("start", HELPLINE).last().copied().unwrap_or(0);
    let what = format!("start, ms, {} entries kept", figure(kept as f64));
    bars.push(most(what, "1,000", 1000.0, start(kept)));
    let alone = |key| figures.median(of("alone", HELPLINE, key));
    let bytes = alone(keys::BYTES).map(|bytes| bytes / 1e6);
    bars.push(most("helpline-server, 10⁶ bytes".into(), "10", 10.0, bytes));
    let resident = alone(keys::RESIDENT).map(|mib| mib * 1024.0 * 1024.0 / 1e6);
    bars.push(most("alone, resident, 10⁶ bytes".into(), "10", 10.0, resident));
    bars
}

/// What a round trip takes, in relation to what it may: the relay's, and two syncs with a quarter more.
fn turns(figures: &Figures) -> Option<f64> {
    let of = |who, key| figures.by_round(Of { work: "turns", who, size: 1, key });
    let (relay, syncs) = (of(RELAY, keys::P50), of(HELPLINE, keys::SYNC));
    let reached = of(HELPLINE, keys::P50).into_iter().filter_map(|(round, reached)| {
        Some(reached / (relay.get(&round)? + 2.0 * 1.25 * syncs.get(&round)?))
    });
    crate::summary::median(reached.collect())
}
