//! What is known in memory of the calls that aren't over, or whose end somebody has still to see.
//!
//! Entries have no index, so the rows of these calls, the only ones that are written to, are known here.

use std::collections::HashMap;

use helpline_proto::ids::{CallId, Nonce, Seq, Side};
use rusqlite::{Connection, Row};

use crate::entries::{self, Step, StepKind};

use super::{StoreError, chain::Chain};

/// Calls that aren't over, or whose end somebody has still to see; the index `live_call` has them.
pub(super) const LIVE: &str = "(state <> 2 OR caller_unseen OR operator_unseen)";

/// How far a call has come.
///
/// The rules that every transcript follows. Nothing is written that breaks them, so what breaks them
/// when it is read is damaged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Progress {
    /// The number of the last entry; 0 while there is none.
    pub(super) last_seq: Seq,
    /// The nonce of the caller's next line.
    pub(super) caller_next: Nonce,
    /// The nonce of the operator's next line.
    pub(super) operator_next: Nonce,
    /// Whether the last entry is the end.
    pub(super) ended: bool,
}

impl Progress {
    const NONE: Self = Self {
        last_seq: Seq(0),
        caller_next: Nonce::FIRST,
        operator_next: Nonce::FIRST,
        ended: false,
    };

    /// Takes note of the next entry.
    pub(super) fn take(&mut self, step: Step) -> Result<(), StoreError> {
        if self.ended {
            return Err(StoreError::Nonsense("an entry after the end of its call"));
        }
        if self.last_seq.next() != Some(step.seq) {
            return Err(StoreError::Nonsense("an entry that isn't the next of its call"));
        }
        match step.kind {
            StepKind::Said(from, nonce) => {
                let next = match from {
                    Side::Caller => &mut self.caller_next,
                    Side::Operator => &mut self.operator_next,
                };
                if nonce != *next {
                    return Err(StoreError::Nonsense("a line that isn't the next of its speaker"));
                }
                *next = nonce.next().ok_or(StoreError::Nonsense("a line with the last nonce"))?;
            }
            StepKind::Passed => {}
            StepKind::Ended => self.ended = true,
        }
        self.last_seq = step.seq;
        Ok(())
    }
}

/// One such call.
#[derive(Clone, Debug)]
pub(super) struct LiveCall {
    pub(super) number: i64,
    pub(super) progress: Progress,
    /// The rows of its entries.
    pub(super) chain: Chain,
}

impl LiveCall {
    pub(super) fn new(number: i64) -> Self {
        Self { number, progress: Progress::NONE, chain: Chain::default() }
    }
}

/// All of them, as they are committed.
#[derive(Debug)]
pub(super) struct Live {
    /// The row of the next entry.
    pub(super) next_row: i64,
    /// Boxed, because a table has more room than there are calls.
    pub(super) calls: HashMap<CallId, Box<LiveCall>>,
}

/// The statement that finds them.
pub(super) fn calls_sql() -> String {
    format!("SELECT number, id, state, first_row, last_row FROM call WHERE {LIVE}")
}

/// A call as its own row has it, to be held against its entries.
struct Claim {
    id: CallId,
    state: i64,
    last_row: Option<i64>,
    call: LiveCall,
}

impl Claim {
    /// Takes note of the next row.
    fn take(&mut self, found: &Row<'_>) -> Result<(), StoreError> {
        let Self { id, call, .. } = self;
        let (row, before, first) = (found.get(1)?, found.get(2)?, Seq(found.get(3)?));
        if call.chain.last() != before || call.progress.last_seq.next() != Some(first) {
            return Err(StoreError::Nonsense("an entry that isn't the next of its call"));
        }
        let frames = found.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
        for entry in entries::read(*id, frames) {
            call.progress.take(Step::of(&entry?))?;
        }
        if call.progress.last_seq < first {
            return Err(StoreError::Nonsense("a row of no entries"));
        }
        call.chain.push(row, first);
        Ok(())
    }
}

impl Live {
    /// Finds them, and goes through all entries since the first of the oldest of them.
    ///
    /// # Errors
    /// The database can't be read, or these calls can't be as they are recorded.
    pub(super) fn load(database: &Connection) -> Result<Self, StoreError> {
        let number = |sql| database.query_row(sql, [], |row| row.get::<_, i64>(0));
        let last_row = number("SELECT coalesce(max(row), 0) FROM block")?;
        let next_row =
            last_row.checked_add(1).ok_or(StoreError::Nonsense("a row beyond all counting"))?;
        let last_number = number("SELECT coalesce(max(number), 0) FROM call")?;
        let mut claims = HashMap::new();
        let mut oldest = i64::MAX;
        let mut statement = database.prepare(&calls_sql())?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let number = row.get(0)?;
            let claim = Claim {
                id: CallId(row.get(1)?),
                state: row.get(2)?,
                last_row: row.get(4)?,
                call: LiveCall::new(number),
            };
            oldest = oldest.min(row.get(3)?);
            claims.insert(number, claim);
        }
        let mut statement = database.prepare(
            "SELECT call, row, before, first, frames FROM block WHERE row >= ? ORDER BY row",
        )?;
        let mut found = statement.query([oldest])?;
        while let Some(row) = found.next()? {
            let number = row.get(0)?;
            if let Some(claim) = claims.get_mut(&number) {
                claim.take(row)?;
            } else if !(1..=last_number).contains(&number) {
                return Err(StoreError::Nonsense("an entry of no call"));
            }
        }
        let mut calls = HashMap::with_capacity(claims.len());
        for Claim { id, state, last_row, call } in claims.into_values() {
            let end = call.chain.last().filter(|_| call.progress.ended);
            if (state == 2) != call.progress.ended || last_row != end {
                return Err(StoreError::Nonsense("a call whose end isn't its last entry"));
            }
            calls.insert(id, Box::new(call));
        }
        Ok(Self { next_row, calls })
    }
}
