//! The works as they are told of: what they are, and which of their figures are shown.

use crate::figures::keys;

/// A work on the page.
pub(super) struct Section {
    pub(super) work: &'static str,
    pub(super) title: &'static str,
    pub(super) what: &'static str,
    /// What its size counts.
    pub(super) counts: &'static str,
    pub(super) columns: &'static [Column],
    /// What is also shown over size.
    pub(super) curves: &'static [Curve],
}

/// A column of its table.
pub(super) struct Column {
    pub(super) heading: &'static str,
    pub(super) shows: Shows,
}

/// What stands in a column.
pub(super) enum Shows {
    /// Whether what is said is recorded.
    Recorded,
    /// A figure.
    Figure(&'static str),
    /// A figure as a part of a hundred.
    Percent(&'static str),
    /// A figure in millions.
    Millions(&'static str),
    /// A figure in relation to this one's.
    Ratio(&'static str, &'static str),
}

/// A figure over size.
pub(super) struct Curve {
    /// Its name as a file.
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    pub(super) unit: &'static str,
}

const fn column(heading: &'static str, shows: Shows) -> Column {
    Column { heading, shows }
}

const TALK: &[Column] = &[
    column("recorded", Shows::Recorded),
    column("messages/s", Shows::Figure(keys::RATE)),
    column("× L5", Shows::Ratio(keys::RATE, LOG)),
    column("CPU s per 10⁶", Shows::Figure(keys::CPU)),
    column("× L1", Shows::Ratio(keys::CPU, RELAY)),
    column("× L5", Shows::Ratio(keys::CPU, LOG)),
    column("p50 ms", Shows::Figure(keys::P50)),
    column("p99 ms", Shows::Figure(keys::P99)),
    column("resident MiB", Shows::Figure(keys::RESIDENT)),
];

pub(super) const RELAY: &str = "L1 raw relay";
pub(super) const LOG: &str = "L5 raw synced log";
pub(super) const BARE: &str = "L1 raw answers";
pub(super) const BARE_TLS: &str = "bare rustls";
pub(super) const HELPLINE: &str = "Helpline";
pub(super) const HELPLINE_TLS: &str = "Helpline, TLS";

pub(super) const SECTIONS: &[Section] = &[
    Section {
        work: "stream",
        title: "Stream",
        what: "Pairs talk as fast as the server lets them: one end says, 64 messages under way at any time, the other \
               hears. What is timed is from saying a message until it has been heard and, where the protocol does \
               that, acknowledged.",
        counts: "pairs",
        columns: TALK,
        curves: &[
            Curve { name: "stream-cpu", key: keys::CPU, unit: "CPU s per 10⁶ messages" },
            Curve { name: "stream-rate", key: keys::RATE, unit: "messages/s" },
        ],
    },
    Section {
        work: "one",
        title: "One in flight",
        what: "The same, but each says the next message only when the one before has been heard and acknowledged. This \
               is what latency costs, and what a sync costs that few share.",
        counts: "pairs",
        columns: TALK,
        curves: &[
            Curve { name: "one-p50", key: keys::P50, unit: "ms, median" },
            Curve { name: "one-cpu", key: keys::CPU, unit: "CPU s per 10⁶ messages" },
        ],
    },
    Section {
        work: "turns",
        title: "One pair, in turns",
        what: "One end says something, the other answers when it has heard it; what is timed is both ways. A server that \
               records has synced twice by then. The naive blocking pair is the program that everybody writes first: it \
               talks with one caller at a time and answers by itself, so nothing goes through a server on the way.",
        counts: "pair",
        columns: &[
            column("recorded", Shows::Recorded),
            column("p50 ms", Shows::Figure(keys::P50)),
            column("p99 ms", Shows::Figure(keys::P99)),
            column("× L1", Shows::Ratio(keys::P50, RELAY)),
            column("round trips/s", Shows::Figure(keys::RATE)),
            column("CPU s per 10⁶", Shows::Figure(keys::CPU)),
            column("× L1", Shows::Ratio(keys::CPU, RELAY)),
        ],
        curves: &[],
    },
    Section {
        work: "idle",
        title: "Idle connections",
        what: "Connections on which nothing is said: of a line, callers who wait for an answer, each of whom says every \
               15 s that it is still there, as clients do; of the others, both ends of conversations, who say nothing at all. The memory is what \
               the server has more than before, for each connection.",
        counts: "connections",
        columns: &[
            column("resident MiB before", Shows::Figure(keys::RESIDENT)),
            column("KiB more for each", Shows::Figure(keys::KIB_EACH)),
            column("CPU, % of a core", Shows::Percent(keys::CORE)),
        ],
        curves: &[Curve { name: "idle-memory", key: keys::KIB_EACH, unit: "resident KiB each" }],
    },
    Section {
        work: "talked",
        title: "Idle after an hour's talk",
        what: "Callers and operators in calls: before anything is said, and when 300 lines have been said in each call, \
               as many as an hour brings, and all are silent again.",
        counts: "connections",
        columns: &[
            column("resident KiB each, before", Shows::Figure(keys::KIB_FRESH)),
            column("after", Shows::Figure(keys::KIB_EACH)),
        ],
        curves: &[],
    },
    Section {
        work: "storm",
        title: "Connect storm",
        what: "Fifty at a time come, are let in, say one message, know that it arrived, and leave: on a line they get a \
               place in the queue, and both that and the message are recorded. *L1 raw answers* gets as many bytes and \
               sends them back, twice, and does nothing else. Under TLS everybody makes a whole handshake; *bare rustls* \
               is L1 raw answers under TLS, with the library, the settings and the kind of key that a line has. Who lets in only \
               a few a second has fewer visits.",
        counts: "visits",
        columns: &[
            column("CPU ms per 1,000", Shows::Figure(keys::CPU_MS)),
            column("× L1", Shows::Ratio(keys::CPU_MS, BARE)),
            column("× bare rustls", Shows::Ratio(keys::CPU_MS, BARE_TLS)),
            column("visits/s", Shows::Figure(keys::RATE)),
            column("p50 ms", Shows::Figure(keys::P50)),
            column("p99 ms", Shows::Figure(keys::P99)),
        ],
        curves: &[Curve { name: "storm-cpu", key: keys::CPU_MS, unit: "CPU ms per 1,000 visits" }],
    },
    Section {
        work: "queue",
        title: "A queue that is drained",
        what: "Callers wait, then a hundred operators sign on; each takes one caller after the other, says a line and \
               hangs up. Meanwhile those who wait hear that they have come nearer. It counts from the first sign-on to \
               the end of the last call.",
        counts: "calls",
        columns: &[
            column("took ms", Shows::Figure(keys::TOOK)),
            column("calls/s", Shows::Figure(keys::RATE)),
            column("CPU ms a call", Shows::Figure(keys::CPU_MS)),
            column("places heard by each", Shows::Figure(keys::TOLD)),
        ],
        curves: &[Curve { name: "queue-cpu", key: keys::CPU_MS, unit: "CPU ms a call" }],
    },
    Section {
        work: "start",
        title: "Start",
        what: "From running the program to its line *listening on*, with so many entries kept, said in 50 calls that were \
               under way when the server was killed. Each time it is killed again, so it always starts as after a crash; \
               what it reads is in the system's cache. The very first start also makes the database and the line's key.",
        counts: "entries",
        columns: &[
            column("ms, median", Shows::Figure(keys::TOOK)),
            column("ms, longest", Shows::Figure(keys::LONGEST)),
            column("ms, the very first", Shows::Figure(keys::FIRST)),
            column("resident MiB then", Shows::Figure(keys::RESIDENT)),
        ],
        curves: &[Curve { name: "start", key: keys::TOOK, unit: "ms to listening" }],
    },
    Section {
        work: "alone",
        title: "Alone",
        what: "A line to which nobody is connected, and the size of the program.",
        counts: "connections",
        columns: &[
            column("resident MiB", Shows::Figure(keys::RESIDENT)),
            column("program, 10⁶ bytes", Shows::Millions(keys::BYTES)),
        ],
        curves: &[],
    },
];

/// Whether what is said to this one is kept.
pub(super) fn recorded(who: &str) -> &'static str {
    match who {
        LOG | HELPLINE | HELPLINE_TLS | "Redis Streams, always" | "JetStream, always" => "synced",
        "Redis Streams, everysec" => "within 1 s",
        "JetStream, every 2 min" => "within 2 min",
        _ => "no",
    }
}
