//! The conversations as a database has them.

use std::path::Path;

use helpline_proto::{ids::CallId, message::Message};
use helpline_server::{
    store::{
        StoreError,
        reading::{Reading, State, Summary},
    },
    tell,
};

use crate::checker::{Checker, Invariant, Violation};

/// Every call of a database, in the order of arrival.
#[derive(Clone, Debug, Default)]
pub struct Transcripts {
    /// The calls.
    pub calls: Vec<Transcript>,
}

/// A call as it is kept.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// Which.
    pub call: CallId,
    /// Where it stands.
    pub state: State,
    /// When somebody first answered, in Unix milliseconds.
    pub answered_at: Option<i64>,
    /// What happened in it.
    pub entries: Vec<Message>,
}

impl Transcripts {
    /// Reads all of them, beside a running server or without one.
    ///
    /// # Errors
    /// They can't be read.
    pub fn read(file: &Path) -> Result<Self, StoreError> {
        let reading = Reading::open(file)?;
        let mut summaries = Vec::new();
        reading.calls(|summary| {
            summaries.push(summary);
            Ok::<_, StoreError>(())
        })?;
        Self::of_summaries(&reading, summaries)
    }

    /// Reads one call.
    ///
    /// # Errors
    /// It can't be read.
    pub fn of(file: &Path, call: CallId) -> Result<Self, StoreError> {
        let reading = Reading::open(file)?;
        let found = reading.find(&call.to_hex())?;
        Self::of_summaries(&reading, found)
    }

    fn of_summaries(reading: &Reading, summaries: Vec<Summary>) -> Result<Self, StoreError> {
        let mut calls = Vec::new();
        for summary in summaries {
            let mut entries = Vec::new();
            reading.entries(&summary, |entry| {
                entries.push(tell::entry(summary.call, entry));
                Ok::<_, StoreError>(())
            })?;
            let answered_at = summary.answered_at.map(|at| at.0);
            calls.push(Transcript {
                call: summary.call,
                state: summary.state,
                answered_at,
                entries,
            });
        }
        Ok(Self { calls })
    }

    /// Tells a checker all of it.
    pub fn tell(&self, checker: &mut Checker) {
        for call in &self.calls {
            checker.transcript(call.call, &call.entries);
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.calls.iter().map(|call| call.entries.len()).sum()
    }

    /// How many of them were said.
    #[must_use]
    pub fn said(&self) -> usize {
        let entries = self.calls.iter().flat_map(|call| &call.entries);
        entries.filter(|entry| matches!(entry, Message::Said(_))).count()
    }

    /// Whoever came first was answered first, which holds while nobody is away for long.
    ///
    /// # Errors
    /// Somebody was answered before somebody who had come earlier.
    pub fn in_order(&self) -> Result<(), Violation> {
        let mut last = 0;
        for call in &self.calls {
            let Some(at) = call.answered_at else { continue };
            if at < last {
                let detail = format!("{} was answered before somebody who came earlier", call.call);
                return Err(Violation { invariant: Invariant::I6, detail });
            }
            last = at;
        }
        Ok(())
    }
}
