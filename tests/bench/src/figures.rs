//! What was measured: figures of works, by who did them, at which size, in which round.

use std::{collections::BTreeMap, io};

use serde_json::{Value, json};

use crate::summary::median;

/// The names of figures.
pub(crate) mod keys {
    /// Messages a second.
    pub(crate) const RATE: &str = "rate";
    /// Processor time of the server: seconds for a million messages.
    pub(crate) const CPU: &str = "cpu_s_per_million";
    /// What half of them took: from being said to being acknowledged and heard, in milliseconds.
    pub(crate) const P50: &str = "p50_ms";
    /// What 99 of 100 stay within.
    pub(crate) const P99: &str = "p99_ms";
    /// Resident memory, in MiB.
    pub(crate) const RESIDENT: &str = "resident_mib";
    /// Resident memory that a connection brings with it, in KiB.
    pub(crate) const KIB_EACH: &str = "kib_each";
    /// The same before anything was said.
    pub(crate) const KIB_FRESH: &str = "kib_fresh";
    /// The part of a core that is busy.
    pub(crate) const CORE: &str = "core";
    /// Processor time of the server: milliseconds for each, or for 1,000 connections.
    pub(crate) const CPU_MS: &str = "cpu_ms";
    /// How long it took, in milliseconds.
    pub(crate) const TOOK: &str = "took_ms";
    /// The longest of several, in milliseconds.
    pub(crate) const LONGEST: &str = "longest_ms";
    /// The very first, in milliseconds.
    pub(crate) const FIRST: &str = "first_ms";
    /// Appending a page to a file and syncing it, in milliseconds.
    pub(crate) const SYNC: &str = "sync_ms";
    /// Messages about places that callers heard, for each call.
    pub(crate) const TOLD: &str = "told";
    /// Bytes of the program.
    pub(crate) const BYTES: &str = "bytes";
}

/// Figures by their names.
pub(crate) type Values = BTreeMap<&'static str, f64>;

/// What one did once.
#[derive(Clone, Debug)]
struct Figure {
    work: String,
    who: String,
    size: u64,
    round: u64,
    values: BTreeMap<String, f64>,
}

/// One figure of a work, of everybody who did it at one size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'a> {
    pub(crate) work: &'a str,
    pub(crate) who: &'a str,
    pub(crate) size: u64,
    pub(crate) key: &'a str,
}

/// All that was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    all: Vec<Figure>,
    /// Who could not be measured at what, and why.
    not_run: Vec<(String, String, u64, String)>,
    /// Where it was measured, and what.
    facts: Vec<(String, String)>,
}

impl Figures {
    pub(crate) fn add(&mut self, work: &str, who: &str, size: u64, round: u64, values: &Values) {
        self.all.push(Figure {
            work: work.to_owned(),
            who: who.to_owned(),
            size,
            round,
            values: values.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect(),
        });
    }

    pub(crate) fn not_run(&mut self, work: &str, who: &str, size: u64, why: &str) {
        let this = (work.to_owned(), who.to_owned(), size, why.to_owned());
        if !self.not_run.contains(&this) {
            self.not_run.push(this);
        }
    }

    /// Notes something about the machine or a program.
    pub(crate) fn fact(&mut self, what: &str, is: &str) {
        self.facts.push((what.to_owned(), is.to_owned()));
    }

    /// What is known about the machine and the programs.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.facts.iter().map(|(what, is)| (what.as_str(), is.as_str()))
    }

    /// Who could not be measured, at least once, at which size, and why.
    pub(crate) fn missing(&self, work: &str) -> impl Iterator<Item = (&str, u64, &str)> {
        let of = self.not_run.iter().filter(move |(of, ..)| of == work);
        of.map(|(_, who, size, why)| (who.as_str(), *size, why.as_str()))
    }

    /// Who did this work, in the order in which they did it first.
    pub(crate) fn who(&self, work: &str) -> Vec<&str> {
        let mut who = Vec::new();
        for figure in self.all.iter().filter(|figure| figure.work == work) {
            if !who.contains(&figure.who.as_str()) {
                who.push(&figure.who);
            }
        }
        who
    }

    /// At which sizes somebody did this work, rising.
    pub(crate) fn sizes(&self, work: &str, who: &str) -> Vec<u64> {
        let of = self.all.iter().filter(|figure| figure.work == work && figure.who == who);
        let mut sizes: Vec<u64> = of.map(|figure| figure.size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// How many rounds there were.
    pub(crate) fn rounds(&self) -> u64 {
        self.all.iter().map(|figure| figure.round + 1).max().unwrap_or(0)
    }

    fn of(&self, of: Of<'_>) -> impl Iterator<Item = (u64, f64)> {
        let same = move |figure: &&Figure| {
            figure.work == of.work && figure.who == of.who && figure.size == of.size
        };
        let value = move |figure: &Figure| Some((figure.round, *figure.values.get(of.key)?));
        self.all.iter().filter(same).filter_map(value)
    }

    /// The median over the rounds.
    pub(crate) fn median(&self, of: Of<'_>) -> Option<f64> {
        median(self.of(of).map(|(_, value)| value).collect())
    }

    /// By round.
    pub(crate) fn by_round(&self, of: Of<'_>) -> BTreeMap<u64, f64> {
        self.of(of).collect()
    }

    /// The median over the rounds of the ratio within a round.
    pub(crate) fn ratio(&self, of: Of<'_>, to: Of<'_>) -> Option<f64> {
        let others = self.by_round(to);
        let both = self.of(of).filter_map(|(round, value)| Some(value / others.get(&round)?));
        median(both.collect())
    }

    /// As JSON, an object a line.
    pub(crate) fn to_json(&self) -> String {
        let mut lines = String::new();
        for Figure { work, who, size, round, values } in &self.all {
            let line = json!({
                "work": work, "who": who, "size": size, "round": round, "values": values,
            });
            lines += &format!("{line}\n");
        }
        for (what, is) in &self.facts {
            lines += &format!("{}\n", json!({ "fact": what, "is": is }));
        }
        for (work, who, size, why) in &self.not_run {
            let line = json!({ "work": work, "who": who, "size": size, "not_run": why });
            lines += &format!("{line}\n");
        }
        lines
    }

    /// What was written by [`to_json`](Self::to_json).
    pub(crate) fn from_json(lines: &str) -> io::Result<Self> {
        let mut figures = Self::default();
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line)?;
            let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
            let number = |key: &str| line.get(key).and_then(Value::as_u64).unwrap_or_default();
            if line.get("not_run").is_some() {
                figures.not_run(text("work"), text("who"), number("size"), text("not_run"));
                continue;
            }
            if line.get("fact").is_some() {
                figures.fact(text("fact"), text("is"));
                continue;
            }
            let values = line.get("values").and_then(Value::as_object);
            let values = values.into_iter().flatten();
            figures.all.push(Figure {
                work: text("work").to_owned(),
                who: text("who").to_owned(),
                size: number("size"),
                round: number("round"),
                values: values
                    .filter_map(|(key, value)| Some((key.clone(), value.as_f64()?)))
                    .collect(),
            });
        }
        Ok(figures)
    }
}
