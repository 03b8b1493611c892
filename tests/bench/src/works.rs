//! What everybody has to do, and how much of it.

use std::{io, time::Duration};

use clap::ValueEnum;

use crate::{
    figures::{Figures, Values},
    load::{Span, Talk},
    rivals::{Place, Rival},
};

pub(crate) mod crowd;
pub(crate) mod idle;
pub(crate) mod line;
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
const ALL: &[Rival] = &[
    Rival::Relay,
    Rival::Log,
    Rival::Helpline,
    Rival::HelplineTls,
    Rival::RedisPubSub,
    Rival::RedisStreams,
    Rival::RedisStreamsEverySecond,
    Rival::Naive,
];

impl Work {
    /// As it is called in figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::One => "one",
            Self::Turns => "turns",
            Self::Idle => "idle",
        }
    }

    /// The size that everybody does, then those by which its cost is seen to grow.
    pub(crate) fn sizes(self, extent: Extent) -> &'static [u64] {
        match (self, extent) {
            (Self::Stream, Extent::Whole) => &[50, 1, 5, 200],
            (Self::Stream, Extent::Quick) => &[50, 5],
            (Self::One, Extent::Whole) => &[50, 1, 5, 200],
            (Self::One, Extent::Quick) => &[50, 1],
            (Self::Turns, _) => &[1],
            (Self::Idle, Extent::Whole) => &[10_000, 100, 1_000],
            (Self::Idle, Extent::Quick) => &[1_000, 100],
        }
    }

    /// Whether this one does it: at the first size everybody who can, at the others those who are compared
    /// with.
    fn is_done_by(self, rival: Rival, first: bool) -> bool {
        let is_line = matches!(rival, Rival::Helpline | Rival::HelplineTls);
        let is_limit = matches!(rival, Rival::Relay | Rival::Log);
        match self {
            _ if rival == Rival::Naive => self == Self::Turns,
            Self::Turns => true,
            Self::Stream | Self::One => {
                first || is_line || is_limit || rival == Rival::RedisStreams
            }
            Self::Idle => first || is_line,
        }
    }

    fn measure(self, rival: Rival, place: &Place, size: u64, plan: &Plan) -> io::Result<Values> {
        let count = usize::try_from(size).map_err(io::Error::other)?;
        let talk = |in_flight, answered| {
            talk::talk(rival, place, count, Talk { in_flight, answered }, plan.span)
        };
        match self {
            Self::Stream => talk(plan.in_flight, false),
            Self::One => talk(1, false),
            Self::Turns => talk(1, true),
            Self::Idle => {
                let watched = match plan.extent {
                    Extent::Quick => Duration::from_secs(3),
                    Extent::Whole => Duration::from_secs(16),
                };
                idle::wait(rival, place, count, watched)
            }
        }
    }
}

/// Has everything done by everybody in turn, as often as the plan wants; `told` hears each figure.
pub(crate) fn run(
    plan: &Plan,
    place: &Place,
    mut told: impl FnMut(Work, Rival, u64, &io::Result<Values>),
) -> Figures {
    let mut figures = Figures::default();
    for round in 0..plan.rounds {
        for work in &plan.works {
            let sizes = if plan.sizes.is_empty() { work.sizes(plan.extent) } else { &plan.sizes };
            for (nth, size) in sizes.iter().enumerate() {
                for rival in ALL {
                    let is_wanted = |only: &String| rival.name().contains(only.as_str());
                    if !work.is_done_by(*rival, nth == 0)
                        || !(plan.only.is_empty() || plan.only.iter().any(is_wanted))
                    {
                        continue;
                    }
                    let values = work.measure(*rival, place, *size, plan);
                    told(*work, *rival, *size, &values);
                    match values {
                        Ok(values) => {
                            figures.add(work.name(), rival.name(), *size, round, &values);
                        }
                        Err(why) => figures.not_run(work.name(), rival.name(), &why.to_string()),
                    }
                }
            }
        }
    }
    figures
}
