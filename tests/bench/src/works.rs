//! What everybody has to do, and how much of it.

use std::{io, time::Duration};

use clap::ValueEnum;

use crate::{
    figures::{Figures, Values, keys},
    load::{Span, Talk},
    rivals::{Place, Rival},
};

pub(crate) mod crowd;
pub(crate) mod idle;
pub(crate) mod line;
pub(crate) mod queue;
pub(crate) mod start;
pub(crate) mod storm;
pub(crate) mod sync;
pub(crate) mod talk;

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// Pairs talk, each with many messages under way.
    Stream,
    /// Pairs talk, each with one message under way.
    One,
    /// Pairs talk in turns: each message is answered.
    Turns,
    /// Connections on which nothing happens.
    Idle,
    /// The same before and after talking.
    Talked,
    /// Connections that come, say one thing, and leave.
    Storm,
    /// A long queue that is drained.
    Queue,
    /// Starting with many entries kept.
    Start,
    /// A server to which nobody is connected.
    Alone,
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Rival(Rival),
    /// A server that answers with what it is told.
    Bare,
    /// The same under TLS.
    BareTls,
}

impl Who {
    /// As it is called in figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rival(rival) => rival.name(),
            Self::Bare => "L1 raw answers",
            Self::BareTls => "bare rustls",
        }
    }

    /// As the program itself says; none where it is a part of this one.
    fn version(self, place: &Place) -> Option<String> {
        match self {
            Self::Rival(rival) => rival.version(place),
            Self::Bare | Self::BareTls => None,
        }
    }
}

/// How much is done.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) works: Vec<Work>,
    /// Only those whose names contain one of these; all if there are none.
    pub(crate) only: Vec<String>,
    /// Instead of the sizes that a work has.
    pub(crate) sizes: Vec<u64>,
    pub(crate) rounds: u64,
    pub(crate) extent: Extent,
    /// How long each pair talks.
    pub(crate) span: Span,
    /// Messages under way in a stream.
    pub(crate) in_flight: u64,
}

/// Whether somebody waits for the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Quick,
    Whole,
}

/// Everybody, in the order in which they are measured.
const ALL: &[Who] = &[
    Who::Rival(Rival::Relay),
    Who::Rival(Rival::Log),
    Who::Bare,
    Who::BareTls,
    Who::Rival(Rival::Helpline),
    Who::Rival(Rival::HelplineTls),
    Who::Rival(Rival::RedisPubSub),
    Who::Rival(Rival::RedisStreams),
    Who::Rival(Rival::RedisStreamsEverySecond),
    Who::Rival(Rival::JetStreamSynced),
    Who::Rival(Rival::JetStream),
    Who::Rival(Rival::Nats),
    Who::Rival(Rival::MosquittoQos1),
    Who::Rival(Rival::MosquittoQos0),
    Who::Rival(Rival::InspIrcd),
    Who::Rival(Rival::Ngircd),
    Who::Rival(Rival::Naive),
];

impl Work {
    /// As it is called in figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::One => "one",
            Self::Turns => "turns",
            Self::Idle => "idle",
            Self::Talked => "talked",
            Self::Storm => "storm",
            Self::Queue => "queue",
            Self::Start => "start",
            Self::Alone => "alone",
        }
    }

    /// The size that everybody does, then those by which its cost is seen to grow.
    pub(crate) fn sizes(self, extent: Extent) -> &'static [u64] {
        match (self, extent) {
            (Self::Stream | Self::One, Extent::Whole) => &[50, 1, 5, 200],
            (Self::Stream, Extent::Quick) => &[50, 5],
            (Self::One, Extent::Quick) => &[50, 1],
            (Self::Turns, _) => &[1],
            (Self::Idle, Extent::Whole) => &[10_000, 100, 1_000],
            (Self::Idle, Extent::Quick) => &[1_000, 100],
            (Self::Talked, Extent::Whole) => &[1_000],
            (Self::Talked, Extent::Quick) => &[100],
            (Self::Storm, Extent::Whole) => &[5_000, 500, 15_000],
            (Self::Storm, Extent::Quick) => &[500],
            (Self::Queue, Extent::Whole) => &[10_000, 100, 1_000],
            (Self::Queue, Extent::Quick) => &[1_000, 100],
            (Self::Start, Extent::Whole) => &[1_000_000, 0, 10_000, 100_000],
            (Self::Start, Extent::Quick) => &[100_000, 0],
            (Self::Alone, _) => &[0],
        }
    }

    /// In which of the rounds it is done: what hardly varies, or takes long, in fewer.
    fn is_done_in(self, round: u64, extent: Extent) -> bool {
        match (self, extent) {
            (Self::Stream | Self::One | Self::Turns, _) => true,
            (Self::Storm, Extent::Whole) => round < 3,
            (_, Extent::Whole) => round < 2,
            (_, Extent::Quick) => round < 1,
        }
    }

    /// Whether this one does it: at the first size everybody who can, at the others those who are compared
    /// with.
    fn is_done_by(self, who: Who, first: bool) -> bool {
        let is_line = matches!(who, Who::Rival(Rival::Helpline | Rival::HelplineTls));
        let is_bare = matches!(who, Who::Bare | Who::BareTls);
        let is_stream =
            matches!(who, Who::Rival(Rival::RedisStreams | Rival::RedisStreamsEverySecond));
        let is_jetstream = matches!(who, Who::Rival(Rival::JetStream | Rival::JetStreamSynced));
        let is_limit = matches!(who, Who::Rival(Rival::Relay | Rival::Log));
        match self {
            // The raw log can't tell an answer from an acknowledgement; who reads a stream of Redis says nothing.
            Self::Turns => !is_bare && who != Who::Rival(Rival::Log) && !is_stream,
            _ if who == Who::Rival(Rival::Naive) => false,
            Self::Stream | Self::One => {
                !is_bare && (first || is_line || is_limit || who == Who::Rival(Rival::RedisStreams))
            }
            // It would need a stream for each conversation, which it can't have as many of; idle it is NATS.
            Self::Idle => !is_bare && !is_jetstream && (first || is_line),
            Self::Storm => !is_limit && !is_jetstream && (first || is_line || is_bare),
            Self::Queue => is_line,
            Self::Talked => is_line,
            Self::Start | Self::Alone => who == Who::Rival(Rival::Helpline),
        }
    }

    fn measure(self, who: Who, place: &Place, size: u64, plan: &Plan) -> io::Result<Values> {
        let count = usize::try_from(size).map_err(io::Error::other)?;
        let rival = match who {
            _ if self == Self::Storm => return storm::visits(who, place, count),
            Who::Rival(rival) => rival,
            Who::Bare | Who::BareTls => return Err(io::ErrorKind::Unsupported.into()),
        };
        let talk = |in_flight, answered| {
            talk::talk(rival, place, count, Talk { in_flight, answered }, plan.span)
        };
        match self {
            Self::Stream => talk(plan.in_flight, false),
            Self::One => talk(1, false),
            Self::Turns if rival == Rival::Helpline => {
                // What a sync takes changes from one moment to the next.
                let before = sync::page(place)?;
                let mut values = talk(1, true)?;
                values.insert(keys::SYNC, f64::midpoint(before, sync::page(place)?));
                Ok(values)
            }
            Self::Turns => talk(1, true),
            Self::Idle => {
                let watched = match plan.extent {
                    Extent::Quick => Duration::from_secs(1),
                    Extent::Whole => Duration::from_secs(16),
                };
                idle::wait(rival, place, count, watched)
            }
            Self::Talked => idle::talked(rival, place, count),
            Self::Storm => storm::visits(who, place, count),
            Self::Queue => queue::drain(rival, place, count),
            Self::Start => start::start(rival, place, size),
            Self::Alone => idle::alone(rival, place),
        }
    }
}

/// What was measured, in which version.
pub(crate) fn versions(figures: &Figures, place: &Place) -> Vec<(String, String)> {
    let is_measured = |who: &Who| {
        let mut works = Work::value_variants().iter();
        works.any(|work| figures.who(work.name()).contains(&who.name()))
    };
    let mut versions: Vec<(String, String)> = Vec::new();
    for who in ALL.iter().filter(|who| is_measured(who)) {
        // Without the way in which the program is used.
        let program = who.name().split([' ', ',']).next().unwrap_or_default();
        if versions.iter().all(|(known, _)| known != program)
            && let Some(version) = who.version(place)
        {
            versions.push((program.to_owned(), version));
        }
    }
    versions
}

/// Has everything done by everybody in turn, as often as the plan wants; `told` hears each figure.
pub(crate) fn run(
    plan: &Plan,
    place: &Place,
    mut told: impl FnMut(Work, Who, u64, &io::Result<Values>),
) -> Figures {
    let mut figures = Figures::default();
    let is_wanted = |who: &Who| {
        plan.only.is_empty() || plan.only.iter().any(|only| who.name().contains(only.as_str()))
    };
    for round in 0..plan.rounds {
        for work in plan.works.iter().filter(|work| work.is_done_in(round, plan.extent)) {
            let sizes = if plan.sizes.is_empty() { work.sizes(plan.extent) } else { &plan.sizes };
            for (nth, size) in sizes.iter().enumerate() {
                let done_by = |who: &&Who| work.is_done_by(**who, nth == 0) && is_wanted(who);
                for who in ALL.iter().filter(done_by) {
                    let values = work.measure(*who, place, *size, plan);
                    told(*work, *who, *size, &values);
                    match values {
                        Ok(values) => figures.add(work.name(), who.name(), *size, round, &values),
                        Err(why) => {
                            figures.not_run(work.name(), who.name(), *size, &why.to_string());
                        }
                    }
                }
            }
        }
    }
    figures
}
