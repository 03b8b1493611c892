//! What a seed stands for: how large its world is, and what may go wrong in it.
//!
//! Each seed has a few dimensions of faults and not the others, so that some worlds get deep into one
//! kind of trouble (swarm testing). A world that fails is made smaller by having fewer of everything.

use std::{fmt, str::FromStr};

use helpline_tests::dice::Dice;

macro_rules! dims {
    ($($(#[$doc:meta])* $dim:ident = $name:literal;)*) => {
        /// A dimension of what may go wrong, or just be unusual.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Dim {
            $($(#[$doc])* $dim,)*
        }

        impl Dim {
            pub(crate) const ALL: &[Self] = &[$(Self::$dim),*];

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$dim => $name,)*
                }
            }
        }
    };
}

dims! {
    /// Bytes take up to some seconds.
    Delay = "delay";
    /// Nothing arrives for a while, either way.
    Stall = "stall";
    /// Nothing arrives for a while, one way.
    OneWay = "one-way";
    /// A connection breaks behind any byte.
    Cut = "cut";
    /// A connection breaks, and both ends are told.
    Reset = "reset";
    /// A connection breaks, and neither end is told.
    HalfOpen = "half-open";
    /// Reads bring a few bytes at a time.
    Slice = "slice";
    /// Reads bring all that has come.
    Coalesce = "coalesce";
    /// A second process with the same ticket.
    Twin = "twin";
    /// A client's process is killed, and started again.
    Kill = "kill";
    /// A client's machine dies, and its connection stays.
    HostDies = "host-dies";
    /// Who is killed stays away for minutes.
    Absences = "absences";
    /// A client reads slowly, or not at all.
    SlowReader = "slow-reader";
    /// Many lines at once.
    Bursts = "bursts";
    /// Lines of the largest size.
    BigLines = "big-lines";
    /// Commits take up to 5 s.
    SlowDisk = "slow-disk";
    /// The disk is full for a commit.
    DiskFull = "disk-full";
    /// A commit fails, and nothing is kept.
    LostError = "lost-error";
    /// A commit fails, and everything is kept.
    KeptError = "kept-error";
    /// The server is killed.
    Crash = "crash";
    /// The server's machine loses its power.
    PowerCut = "power-cut";
    /// The server is stopped, and started again.
    Stop = "stop";
    /// The wall clock steps by up to a day.
    Clock = "clock";
    /// The server tells entries twice.
    Repeats = "repeats";
    /// The server leaves entries out.
    Skips = "skips";
    /// A client says some of its lines twice.
    Stutter = "stutter";
    /// Few places.
    FewPlaces = "few-places";
    /// Graces of some seconds.
    ShortGraces = "short-graces";
    /// The way to the core holds few questions.
    NarrowDoor = "narrow-door";
    /// Connections may say so much a second and no more.
    SayRate = "say-rate";
}

/// Some dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dims(u32);

impl Dims {
    pub(crate) fn has(self, dim: Dim) -> bool {
        self.0 & (1 << dim as u32) != 0
    }

    pub(crate) fn with(self, dim: Dim) -> Self {
        Self(self.0 | (1 << dim as u32))
    }

    pub(crate) fn without(self, dim: Dim) -> Self {
        Self(self.0 & !(1 << dim as u32))
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Dim> {
        Dim::ALL.iter().copied().filter(move |dim| self.has(*dim))
    }
}

/// A world, before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Params {
    pub(crate) seed: u64,
    /// How many people call.
    pub(crate) callers: usize,
    /// How many people answer.
    pub(crate) operators: usize,
    /// How many things each of them does.
    pub(crate) steps: usize,
    /// How many faults are injected beside those that come by chance.
    pub(crate) faults: usize,
    /// How many seconds pass until nothing goes wrong any more.
    pub(crate) span: usize,
    pub(crate) dims: Dims,
}

impl Params {
    /// The world of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 0);
        let each = [8, 20, 50][dice.below(3)];
        let dims = Dim::ALL.iter().fold(Dims::default(), |dims, dim| {
            if dice.chance(each) { dims.with(*dim) } else { dims }
        });
        let crowd = dice.chance(25);
        let callers = 1 + dice.below(if crowd { 8 } else { 4 });
        let operators = 1 + dice.below(3);
        let steps = 4 + dice.below(if crowd { 12 } else { 24 });
        let faults = dice.below(16);
        let span = [10, 30, 60, 90, 150][dice.below(5)];
        let world = Self { seed, callers, operators, steps, faults, span, dims };
        if !dims.has(Dim::Absences) {
            return world;
        }
        // It takes time to be missed, and others who wait.
        Self { callers: callers + 2, span: 150, dims: dims.with(Dim::Kill), ..world }
    }

    /// Worlds with less in them, the most promising first.
    pub(crate) fn smaller(self) -> Vec<Self> {
        let mut worlds = Vec::new();
        let mut add = |world: Self| {
            if world != self {
                worlds.push(world);
            }
        };
        add(Self { callers: 1, ..self });
        add(Self { callers: self.callers.div_ceil(2), ..self });
        add(Self { callers: self.callers.saturating_sub(1).max(1), ..self });
        add(Self { operators: 1, ..self });
        add(Self { operators: self.operators.saturating_sub(1).max(1), ..self });
        add(Self { faults: self.faults / 2, ..self });
        add(Self { faults: self.faults.saturating_sub(1), ..self });
        add(Self { steps: self.steps.div_ceil(2), ..self });
        add(Self { steps: self.steps.saturating_sub(1).max(1), ..self });
        let half = self.dims.iter().count() / 2;
        let some = |dims: &mut dyn Iterator<Item = Dim>| dims.fold(Dims::default(), Dims::with);
        add(Self { dims: some(&mut self.dims.iter().take(half)), ..self });
        add(Self { dims: some(&mut self.dims.iter().skip(half)), ..self });
        for dim in self.dims.iter() {
            add(Self { dims: self.dims.without(dim), ..self });
        }
        for span in [5, 10, 20, 30, 60, 90] {
            if span < self.span {
                add(Self { span, ..self });
            }
        }
        worlds
    }

    /// How much there is in it.
    pub(crate) fn size(self) -> usize {
        let dims = self.dims.iter().count();
        self.callers * 20
            + self.operators * 20
            + self.steps * 4
            + self.faults * 4
            + dims * 10
            + self.span / 5
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, callers, operators, steps, faults, span, dims } = self;
        write!(f, "seed={seed} callers={callers} operators={operators} steps={steps} ")?;
        write!(f, "faults={faults} span={span} dims=")?;
        let names: Vec<&str> = dims.iter().map(Dim::name).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Params {
    type Err = String;

    /// Reads what `Display` writes; what is left out is as the seed has it.
    fn from_str(given: &str) -> Result<Self, String> {
        let pairs = given.split_whitespace().filter_map(|pair| pair.split_once('='));
        let pairs: Vec<(&str, &str)> = pairs.collect();
        let number = |key: &str| {
            let found = pairs.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| value.parse::<u64>().map_err(|_| format!("{key} is a number")))
        };
        let seed = number("seed").ok_or("there is no seed")??;
        let mut params = Self::of(seed);
        for (key, place) in [
            ("callers", &mut params.callers),
            ("operators", &mut params.operators),
            ("steps", &mut params.steps),
            ("faults", &mut params.faults),
            ("span", &mut params.span),
        ] {
            if let Some(value) = number(key) {
                *place = usize::try_from(value?).unwrap();
            }
        }
        if let Some((_, names)) = pairs.iter().find(|(name, _)| *name == "dims") {
            params.dims = Dims::default();
            for name in names.split(',').filter(|name| !name.is_empty()) {
                let dim = Dim::ALL.iter().find(|dim| dim.name() == name);
                params.dims = params.dims.with(*dim.ok_or(format!("no dimension is {name}"))?);
            }
        }
        Ok(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_reads_back_as_it_is_printed() {
        for seed in 0..50 {
            let params = Params::of(seed);
            assert_eq!(params.to_string().parse(), Ok(params));
        }
    }
}
