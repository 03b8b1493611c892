//! One batch on its way into the database: what it changes in memory waits until it is committed.

use std::collections::{HashMap, hash_map};

use helpline_proto::{
    ids::{Answering, CallId, Seq, Side},
    text::LineName,
};
use helpline_switchboard::{Presence, Record};
use rusqlite::{Connection, OptionalExtension as _, Params, params};

use crate::entries::Entries;

use super::{
    StoreError, Write,
    belonging::{self, NewBan},
    forgetting,
    live::{Live, LiveCall, Progress},
    numbers::signed,
};

/// What a batch makes of a call.
#[derive(Debug)]
struct Change {
    number: i64,
    progress: Progress,
    /// The rows of its new entries, and the number of the first entry in each.
    rows: Vec<(i64, Seq)>,
    /// The last row of all.
    last_row: Option<i64>,
    /// Whether everybody has seen the end.
    over: bool,
}

impl Change {
    /// None yet.
    fn of(call: &LiveCall) -> Self {
        let LiveCall { number, progress, chain } = call;
        let last_row = chain.last();
        Self { number: *number, progress: *progress, rows: Vec::new(), last_row, over: false }
    }
}

/// The changes that one batch makes to what is known in memory.
#[derive(Debug)]
pub(super) struct Changes {
    next_row: i64,
    calls: HashMap<CallId, Change>,
    has_forgotten: bool,
}

impl Changes {
    /// Whether calls were deleted.
    pub(super) fn has_forgotten(&self) -> bool {
        self.has_forgotten
    }

    /// Makes them known: they are committed.
    pub(super) fn apply(self, live: &mut Live) {
        live.next_row = self.next_row;
        for (id, change) in self.calls {
            if change.over {
                live.calls.remove(&id);
                continue;
            }
            let call =
                live.calls.entry(id).or_insert_with(|| Box::new(LiveCall::new(change.number)));
            call.progress = change.progress;
            change.rows.into_iter().for_each(|(row, first)| call.chain.push(row, first));
        }
    }
}

/// A transaction that is being filled.
pub(super) struct Batch<'a> {
    database: &'a Connection,
    line: &'a LineName,
    live: &'a Live,
    changes: Changes,
}

impl<'a> Batch<'a> {
    pub(super) fn new(database: &'a Connection, line: &'a LineName, live: &'a Live) -> Self {
        let (next_row, calls) = (live.next_row, HashMap::new());
        let changes = Changes { next_row, calls, has_forgotten: false };
        Self { database, line, live, changes }
    }

    /// Writes everything. What has to be known once it is committed is returned.
    pub(super) fn write(mut self, writes: &[Write]) -> Result<Changes, StoreError> {
        for write in writes {
            match write {
                Write::Entries(entries) => self.entries(entries)?,
                Write::Record(record) => self.record(record)?,
                Write::Refused(more) => self.run(
                    "INSERT INTO count (line, refused) VALUES (?1, ?2)
                     ON CONFLICT (line) DO UPDATE SET refused = refused + ?2",
                    params![self.line.as_str(), more],
                )?,
                Write::Credential(operator, token) => self.run(
                    "UPDATE sign_on SET token = ? WHERE number = ?",
                    params![token.0, signed(operator.0)?],
                )?,
                Write::Ban { network, until, reason, by, at } => belonging::add_ban(
                    self.database,
                    &NewBan {
                        network: *network,
                        until: *until,
                        reason: reason.as_str(),
                        by,
                        at: *at,
                    },
                )?,
                Write::Invitation { invitation, by, at } => {
                    belonging::add_invitation(self.database, invitation, by, *at)?;
                }
                Write::InvitationUsed(code) => {
                    // An administrator may just have removed it.
                    self.database
                        .prepare_cached("DELETE FROM invitation WHERE code = ?")?
                        .execute([code.0])?;
                }
                Write::Audit(audit) => belonging::add_audit(self.database, audit)?,
                Write::Tidy { now, ended_before } => {
                    self.changes.has_forgotten |=
                        forgetting::tidy(self.database, *now, *ended_before)?;
                }
            }
        }
        Ok(self.changes)
    }

    fn entries(&mut self, entries: &Entries) -> Result<(), StoreError> {
        let row = self.changes.next_row;
        let call = self.call(entries.call())?;
        entries.steps().iter().try_for_each(|step| call.progress.take(*step))?;
        let (first, before) = (entries.first(), call.last_row.replace(row));
        call.rows.push((row, first));
        let (number, ended) = (call.number, call.progress.ended);
        self.run(
            "INSERT INTO block (row, call, before, first, frames) VALUES (?, ?, ?, ?, ?)",
            params![row, number, before, first.0, entries.frames()],
        )?;
        if ended {
            self.run("UPDATE call SET last_row = ? WHERE number = ?", [row, number])?;
        }
        self.changes.next_row =
            row.checked_add(1).ok_or(StoreError::Nonsense("a row beyond all counting"))?;
        Ok(())
    }

    fn record(&mut self, record: &Record) -> Result<(), StoreError> {
        match record {
            Record::Opened { call, number, ticket, name, at } => {
                let number = signed(number.0)?;
                let change = Change::of(&LiveCall::new(number));
                self.changes.calls.insert(*call, change);
                self.run(
                    "INSERT INTO call (number, id, line, ticket, name, opened_at, state, first_row)
                     VALUES (?, ?, ?, ?, ?, ?, 0, ?)",
                    params![
                        number,
                        call.0,
                        self.line.as_str(),
                        ticket.0,
                        name.as_str(),
                        at.0,
                        self.changes.next_row
                    ],
                )
            }
            Record::Answered { call, operator, at } => {
                let number = self.call(*call)?.number;
                self.run(
                    "UPDATE call SET state = 1, operator = ?1, connected_at = ?2,
                                     answered_at = coalesce(answered_at, ?2)
                     WHERE number = ?3 AND state = 0",
                    [signed(operator.0)?, at.0, number],
                )
            }
            Record::PutBack { call } => {
                let number = self.call(*call)?.number;
                self.run("UPDATE call SET state = 0 WHERE number = ? AND state = 1", [number])
            }
            Record::Closed { call, at } => {
                let number = self.call(*call)?.number;
                self.run(
                    "UPDATE call SET state = 2, closed_at = ?, caller_unseen = 1,
                                     operator_unseen = (state = 1)
                     WHERE number = ? AND state <> 2",
                    [at.0, number],
                )
            }
            Record::Done { call, side } => self.done(*call, *side),
            Record::SignedOn { operator, ticket, name, answering, at } => self.run(
                "INSERT INTO sign_on (number, ticket, name, since, answering, presence)
                 VALUES (?, ?, ?, ?, ?, 1)",
                params![
                    signed(operator.0)?,
                    ticket.0,
                    name.as_str(),
                    at.0,
                    match answering {
                        Answering::ByHand => 1,
                        Answering::ByItself => 2,
                    }
                ],
            ),
            Record::Chose { operator, presence } => {
                let presence = match presence {
                    Presence::Available => 1,
                    Presence::Break => 2,
                };
                self.run(
                    "UPDATE sign_on SET presence = ? WHERE number = ? AND until IS NULL",
                    [presence, signed(operator.0)?],
                )
            }
            Record::SignedOff { operator, at } => self.run(
                "UPDATE sign_on SET until = ? WHERE number = ? AND until IS NULL",
                [at.0, signed(operator.0)?],
            ),
            Record::Refused => Ok(()),
        }
    }

    fn done(&mut self, id: CallId, side: Side) -> Result<(), StoreError> {
        let call = self.call(id)?;
        let sql = match side {
            Side::Caller => {
                "UPDATE call SET caller_unseen = 0 WHERE number = ? AND state = 2
                 RETURNING operator_unseen"
            }
            Side::Operator => {
                "UPDATE call SET operator_unseen = 0 WHERE number = ? AND state = 2
                 RETURNING caller_unseen"
            }
        };
        let number = call.number;
        let other_has_to = self
            .database
            .prepare_cached(sql)?
            .query_row([number], |row| row.get::<_, bool>(0))
            .optional()?
            .ok_or(StoreError::Nonsense("somebody has seen an end that isn't"))?;
        self.call(id)?.over = !other_has_to;
        Ok(())
    }

    /// Runs a statement that changes one row.
    fn run(&self, sql: &str, params: impl Params) -> Result<(), StoreError> {
        match self.database.prepare_cached(sql)?.execute(params)? {
            1 => Ok(()),
            _ => Err(StoreError::Nonsense("a record of what isn't, or isn't so")),
        }
    }

    /// A call that the switchboard still knows.
    fn call(&mut self, id: CallId) -> Result<&mut Change, StoreError> {
        let call = match self.changes.calls.entry(id) {
            hash_map::Entry::Occupied(changed) => changed.into_mut(),
            hash_map::Entry::Vacant(fresh) => {
                let known = self.live.calls.get(&id);
                let known = known.ok_or(StoreError::Nonsense("something of an unknown call"))?;
                fresh.insert(Change::of(known))
            }
        };
        if call.over {
            Err(StoreError::Nonsense("something of a call that is over"))
        } else {
            Ok(call)
        }
    }
}
