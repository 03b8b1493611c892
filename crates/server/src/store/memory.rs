//! A store in memory, for the proofs: its disk outlives it, and fails when it is told to.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use helpline_proto::ids::{CallId, Nonce, Seq, Side};
use helpline_switchboard::{
    Entry, Item, KeptCall, KeptOperator, KeptState, OperatorId, Presence, QueueNumber, Record,
    Snapshot,
};

use super::{Page, Store, StoreError, Write};
use crate::{
    access::{Access, Audit, SecretHash},
    gate::Ban,
};

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no room: it is rolled back.
    Full,
    /// The disk reports an error, and nothing is recorded.
    LostError,
    /// The disk reports an error though everything is recorded.
    KeptError,
}

/// What is durable. Every clone is the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    /// Every call that ever was.
    calls: BTreeMap<QueueNumber, CallId>,
    entries: HashMap<CallId, Vec<Entry>>,
    /// The calls of a snapshot.
    live: HashMap<CallId, KeptCall>,
    /// The operators of a snapshot.
    operators: BTreeMap<OperatorId, KeptOperator>,
    last_operator: u64,
    refused: u64,
    tokens: BTreeMap<OperatorId, SecretHash>,
    access: Access,
    access_version: i64,
    audit: Vec<Audit>,
    writes: u64,
    fault: Option<Fault>,
    is_unreadable: bool,
}

impl Disk {
    /// Lets the next commit fail.
    pub fn fail_next(&self, fault: Fault) {
        self.recorded().fault = Some(fault);
    }

    /// From now on no entries can be read.
    pub fn fail_to_read(&self) {
        self.recorded().is_unreadable = true;
    }

    /// Everything recorded of a call.
    #[must_use]
    pub fn entries(&self, call: CallId) -> Vec<Entry> {
        self.recorded().entries.get(&call).cloned().unwrap_or_default()
    }

    /// Every call that ever was, in the order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<CallId> {
        self.recorded().calls.values().copied().collect()
    }

    /// Lets administrators decide something.
    pub fn administer(&self, decide: impl FnOnce(&mut Access)) {
        let mut recorded = self.recorded();
        decide(&mut recorded.access);
        recorded.access_version = recorded.access_version.wrapping_add(1);
    }

    /// What is recorded of who belongs.
    #[must_use]
    pub fn access(&self) -> Access {
        self.recorded().access.clone()
    }

    /// Every line of the audit.
    #[must_use]
    pub fn audit(&self) -> Vec<Audit> {
        self.recorded().audit.clone()
    }

    /// How many commits are recorded.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.recorded().writes
    }

    /// How many callers heard *busy*.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.recorded().refused
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        // A proof that panicked while it looked has changed nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store on such a disk.
///
/// It refuses what the store on a real disk refuses, but for three things that are left to the
/// checker to see: a line recorded again, an end recorded again, and an entry behind the end. A batch
/// that it refuses as nonsense is a bug found; the disk is of no more use then.
#[derive(Debug)]
pub struct MemoryStore(Disk);

impl MemoryStore {
    /// Opens what is on the disk.
    #[must_use]
    pub fn open(disk: Disk) -> Self {
        Self(disk)
    }
}

impl Store for MemoryStore {
    const SHARED: bool = false;

    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let mut recorded = self.0.recorded();
        let fault = recorded.fault.take();
        match fault {
            Some(Fault::Full) => return Err(StoreError::Injected { rolled_back: true }),
            Some(Fault::LostError) => return Err(StoreError::Injected { rolled_back: false }),
            Some(Fault::KeptError) | None => {}
        }
        for write in writes {
            recorded.write(write)?;
        }
        recorded.writes = recorded.writes.saturating_add(1);
        match fault {
            None => Ok(()),
            Some(_) => Err(StoreError::Injected { rolled_back: false }),
        }
    }

    fn page(&mut self, call: CallId, after: Seq, bytes: usize) -> Result<Vec<Entry>, StoreError> {
        let recorded = self.0.recorded();
        if recorded.is_unreadable {
            return Err(StoreError::Injected { rolled_back: false });
        }
        let mut page = Page::new(bytes);
        let entries = recorded.entries.get(&call).map(Vec::as_slice).unwrap_or_default();
        let skip = usize::try_from(after.0).unwrap_or(usize::MAX);
        for entry in entries.iter().skip(skip) {
            if !page.take(entry.clone()) {
                break;
            }
        }
        Ok(page.entries)
    }

    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        let recorded = self.0.recorded();
        let last = recorded.calls.keys().next_back().map_or(0, |number| number.0);
        let mut calls: Vec<_> = recorded.live.values().cloned().collect();
        calls.sort_unstable_by_key(|call| call.number);
        Ok(Snapshot {
            next_number: QueueNumber(last.saturating_add(1)),
            operators: recorded.operators.values().cloned().collect(),
            calls,
        })
    }

    fn next_operator(&mut self) -> Result<OperatorId, StoreError> {
        Ok(OperatorId(self.0.recorded().last_operator.saturating_add(1)))
    }

    fn access_version(&mut self) -> Result<i64, StoreError> {
        Ok(self.0.recorded().access_version)
    }

    fn access(&mut self) -> Result<Access, StoreError> {
        Ok(self.0.recorded().access.clone())
    }

    fn credentials(&mut self) -> Result<Vec<(OperatorId, SecretHash)>, StoreError> {
        let recorded = self.0.recorded();
        let tokens = recorded.tokens.iter().filter(|(id, _)| recorded.operators.contains_key(id));
        Ok(tokens.map(|(operator, token)| (*operator, *token)).collect())
    }
}

impl Recorded {
    fn write(&mut self, write: &Write) -> Result<(), StoreError> {
        match write {
            Write::Entries(entries) => {
                entries.read()?.iter().try_for_each(|entry| self.entry(entries.call(), entry))
            }
            Write::Record(record) => self.record(record),
            Write::Refused(more) => {
                self.refused = self.refused.saturating_add((*more).into());
                Ok(())
            }
            Write::Credential(operator, token) => {
                self.operators.get(operator).ok_or_else(not_so)?;
                self.tokens.insert(*operator, *token);
                Ok(())
            }
            Write::Ban { network, until, .. } => {
                self.access.bans.retain(|ban| ban.network != *network || ban.until > *until);
                self.access.bans.push(Ban { network: *network, until: *until });
                Ok(())
            }
            Write::Invitation { invitation, .. } => {
                self.access.invitations.push(*invitation);
                Ok(())
            }
            Write::InvitationUsed(code) => {
                self.access.invitations.retain(|invitation| invitation.code != *code);
                Ok(())
            }
            Write::Audit(audit) => {
                self.audit.push(audit.clone());
                Ok(())
            }
            // Nobody keeps anything here for long.
            Write::Tidy { .. } => Ok(()),
        }
    }

    fn entry(&mut self, id: CallId, entry: &Entry) -> Result<(), StoreError> {
        let call = self.call(id)?;
        if call.last_seq.next() != Some(entry.seq) {
            return Err(StoreError::Nonsense("an entry that isn't the next of its call"));
        }
        call.last_seq = entry.seq;
        if let Item::Said { from, nonce, .. } = &entry.item {
            let next = nonce.next().ok_or(StoreError::Nonsense("a line with the last nonce"))?;
            match from {
                Side::Caller => call.caller_next = next,
                Side::Operator => call.operator_next = next,
            }
        }
        self.entries.entry(id).or_default().push(entry.clone());
        Ok(())
    }

    fn record(&mut self, record: &Record) -> Result<(), StoreError> {
        match record {
            Record::Opened { call, number, ticket, name, at } => {
                let kept = KeptCall {
                    call: *call,
                    number: *number,
                    ticket: *ticket,
                    name: name.clone(),
                    since: *at,
                    state: KeptState::Waiting,
                    answered: false,
                    last_seq: Seq(0),
                    caller_next: Nonce::FIRST,
                    operator_next: Nonce::FIRST,
                };
                let known = self.entries.insert(*call, Vec::new()).is_some();
                if self.calls.insert(*number, *call).is_some() || known {
                    return Err(StoreError::Nonsense("a call that was there before"));
                }
                self.live.insert(*call, kept);
            }
            Record::Answered { call, operator, at } => {
                let call = self.call(*call)?;
                let KeptState::Waiting = call.state else { return Err(not_so()) };
                call.state = KeptState::Connected { operator: *operator, since: *at };
                call.answered = true;
            }
            Record::PutBack { call } => {
                let call = self.call(*call)?;
                let KeptState::Connected { .. } = call.state else { return Err(not_so()) };
                call.state = KeptState::Waiting;
            }
            Record::Closed { call, .. } => {
                let call = self.call(*call)?;
                call.state = match call.state {
                    KeptState::Waiting => KeptState::Ended { caller: true, operator: None },
                    KeptState::Connected { operator, .. } => {
                        KeptState::Ended { caller: true, operator: Some(operator) }
                    }
                    ended @ KeptState::Ended { .. } => ended,
                };
            }
            Record::Done { call: id, side } => {
                let call = self.call(*id)?;
                let KeptState::Ended { caller, operator } = &mut call.state else {
                    return Err(not_so());
                };
                match side {
                    Side::Caller => *caller = false,
                    Side::Operator => *operator = None,
                }
                if !*caller && operator.is_none() {
                    self.live.remove(id);
                }
            }
            Record::SignedOn { operator, ticket, name, answering, .. } => {
                if operator.0 <= self.last_operator {
                    return Err(StoreError::Nonsense("an operator who was there before"));
                }
                self.last_operator = operator.0;
                let kept = KeptOperator {
                    operator: *operator,
                    ticket: *ticket,
                    name: name.clone(),
                    answering: *answering,
                    presence: Presence::Available,
                };
                self.operators.insert(*operator, kept);
            }
            Record::Chose { operator, presence } => {
                self.operators.get_mut(operator).ok_or_else(not_so)?.presence = *presence;
            }
            Record::SignedOff { operator, .. } => {
                self.operators.remove(operator).ok_or_else(not_so)?;
            }
            Record::Refused => {}
        }
        Ok(())
    }

    /// A call that the switchboard still knows.
    fn call(&mut self, id: CallId) -> Result<&mut KeptCall, StoreError> {
        self.live.get_mut(&id).ok_or(StoreError::Nonsense("something of an unknown call"))
    }
}

fn not_so() -> StoreError {
    StoreError::Nonsense("a record of what isn't, or isn't so")
}
