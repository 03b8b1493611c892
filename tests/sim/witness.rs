//! Stands at the core and tells the checker: who comes and goes, what is said by whom, what is durable.

use std::collections::BTreeMap;

use helpline_proto::{
    code::Why,
    ids::{By, Ticket},
    message::Message,
    session::ServerEvent,
};
use helpline_server::{
    core::{ConnectionId, Inbox, Turn},
    store::{Store as _, Write, memory::MemoryStore},
    tell,
};
use helpline_switchboard::{Record, TicketHash};
use helpline_tests::checker::{Fact, Invariant};
use sha2::{Digest as _, Sha256};

use crate::{coverage::Sight, world::World};

/// A ticket's hash, in an order.
pub(crate) type TicketKey = [u8; 32];

impl World {
    /// Takes note of who comes and goes before the core does, and of what is said by nobody.
    pub(crate) fn listen(&mut self, items: &[Inbox], notes: &mut Vec<Note>) -> Vec<String> {
        let mut unheard = Vec::new();
        let mut heard = Vec::new();
        let mut arriving: BTreeMap<TicketKey, u64> = BTreeMap::new();
        let server = &mut self.server;
        let some_arrive = items.iter().any(|item| matches!(item, Inbox::Arrived(..)));
        let watches = some_arrive || !server.superseded.is_empty();
        for item in items {
            match item {
                Inbox::Arrived(ConnectionId(id), _, _, event) => {
                    let Some(ticket) = ticket(event) else { continue };
                    server.tickets.insert(*id, ticket);
                    let older =
                        arriving.insert(ticket.0, *id).or(server.bound.get(&ticket.0).copied());
                    server.superseded.extend(older);
                    notes.push(Note::Arrived(*id, ticket));
                }
                Inbox::Gone(ConnectionId(id)) => notes.push(Note::Gone(*id)),
                Inbox::Asked(ConnectionId(id), events) => {
                    let superseded = server.superseded.contains(id);
                    if superseded {
                        self.coverage.see(Sight::SupersededAsks);
                    }
                    if watches {
                        let said = events.iter().filter_map(|event| match event {
                            ServerEvent::Say(_, say) => Some(say.text.to_string()),
                            _ => None,
                        });
                        if superseded { unheard.extend(said) } else { heard.extend(said) }
                    }
                }
                Inbox::Emptied(_) | Inbox::Stop | Inbox::End => {}
            }
        }
        unheard.retain(|text| !heard.contains(text));
        unheard
    }

    /// Takes note of who came and went, now that the core has.
    pub(crate) fn note(&mut self, note: Note) {
        match note {
            Note::Arrived(id, ticket) => {
                let core = self.server.core.as_ref().unwrap();
                if core.switchboard().holder(ticket).is_some()
                    && let Some(party) = self.server.holders.get(&ticket)
                {
                    self.server.bound.insert(ticket.0, id);
                    self.checker.here(*party);
                }
            }
            Note::Gone(id) => {
                let Some(ticket) = self.server.tickets.get(&id) else { return };
                if self.server.bound.get(&ticket.0) == Some(&id) {
                    let party = self.server.holders[ticket];
                    self.server.bound.remove(&ticket.0);
                    self.checker.away(party, self.now);
                }
            }
        }
    }

    /// What a turn wrote is durable now.
    pub(crate) fn record(&mut self, turn: &Turn, unheard: &[String]) {
        let leaves = turn.writes().iter().find_map(|write| match write {
            Write::Record(Record::SignedOff { operator, .. }) => {
                self.server.operators.get(operator).copied()
            }
            _ => None,
        });
        for write in turn.writes() {
            match write {
                Write::Entries(entries) => {
                    for entry in entries.read().expect("what is recorded can be read") {
                        let message = tell::entry(entries.call(), entry);
                        self.checker.recorded(&message);
                        self.notice_entry(&message, unheard);
                    }
                }
                Write::Record(record) => {
                    if let Record::PutBack { .. } = record {
                        self.see(match leaves {
                            None => Sight::LetGo,
                            Some(party) if self.checker.asked_to_leave(party) => {
                                Sight::PutBackSignedOff
                            }
                            Some(_) => Sight::PutBackGrace,
                        });
                    }
                    self.record_fact(record);
                }
                Write::Refused(_)
                | Write::Credential(..)
                | Write::Ban { .. }
                | Write::Invitation { .. }
                | Write::InvitationUsed(_)
                | Write::Audit(_)
                | Write::Tidy { .. } => {}
            }
        }
        self.checker.turn_over();
        if let Some(core) = self.server.core.as_ref().filter(|_| self.compares) {
            let kept = MemoryStore::open(self.server.disk.clone()).snapshot().unwrap();
            let thought = core.switchboard().snapshot();
            if kept != thought {
                let detail = format!("kept is {kept:?}\nthought is {thought:?}");
                self.checker.violated(Invariant::Kept, detail);
            }
        }
    }

    fn notice_entry(&mut self, message: &Message, unheard: &[String]) {
        match message {
            Message::Said(said) => {
                if unheard.iter().any(|text| text == said.text.as_str()) {
                    let detail = format!("a superseded connection said #{}", said.seq.0);
                    self.checker.violated(Invariant::I8, detail);
                }
                if self.checker.is_waiting(said.call) {
                    self.see(Sight::SaidWhileWaiting);
                }
            }
            Message::Ended(ended) if self.checker.both_hung_up(ended.call) => {
                self.see(Sight::BothHangUp);
            }
            Message::Ended(ended) => self.see(match (ended.why, ended.by) {
                (Why::TIMED_OUT, _) => Sight::TimedOut,
                (Why::ABANDONED, _) => Sight::Abandoned,
                (_, By::Operator) => Sight::EndedByOperator,
                _ => Sight::EndedByCaller,
            }),
            _ => {}
        }
    }

    fn record_fact(&mut self, record: &Record) {
        let fact = match record {
            Record::Opened { call, number, ticket, .. } => {
                self.see(Sight::Opened);
                let caller = self.server.holders[ticket];
                Fact::Opened { call: *call, caller, number: number.0 }
            }
            Record::Answered { call, operator, .. } => {
                self.see(Sight::Answered);
                if self.checker.is_passing(*call) {
                    self.see(Sight::AnsweredPassing);
                }
                let Some(operator) = self.server.operators.get(operator) else { return };
                Fact::Answered { call: *call, operator: *operator }
            }
            Record::PutBack { call } => Fact::PutBack(*call),
            Record::Done { call, side } => Fact::Done(*call, *side),
            Record::SignedOn { operator, ticket, .. } => {
                let party = self.server.holders[ticket];
                self.server.operators.insert(*operator, party);
                return;
            }
            Record::SignedOff { operator, .. } => {
                let Some(operator) = self.server.operators.get(operator) else { return };
                Fact::SignedOff(*operator)
            }
            Record::Closed { .. } | Record::Chose { .. } | Record::Refused => return,
        };
        self.checker.fact(fact);
    }
}

/// What came to the core, in a word.
pub(crate) fn name(item: &Inbox) -> String {
    match item {
        Inbox::Arrived(id, _, _, event) => {
            let what = match event {
                ServerEvent::Join(..) => "join",
                ServerEvent::SignOn(..) => "sign_on",
                _ => "resume",
            };
            format!("{}: {what}", id.0)
        }
        Inbox::Asked(id, events) => format!("{}: {} requests", id.0, events.len()),
        Inbox::Emptied(id) => format!("{}: emptied", id.0),
        Inbox::Gone(id) => format!("{}: gone", id.0),
        Inbox::Stop => "stop".into(),
        Inbox::End => "end".into(),
    }
}

/// Somebody who came or went.
pub(crate) enum Note {
    Arrived(u64, TicketHash),
    Gone(u64),
}

fn ticket(event: &ServerEvent) -> Option<TicketHash> {
    match event {
        ServerEvent::Join(_, join) => Some(hash(&join.ticket)),
        ServerEvent::SignOn(_, on) => Some(hash(&on.ticket)),
        ServerEvent::Resume(_, resume) => Some(hash(&resume.ticket)),
        _ => None,
    }
}

pub(crate) fn hash(ticket: &Ticket) -> TicketHash {
    TicketHash(Sha256::digest(ticket.0).into())
}

pub(crate) fn briefly(writes: &[Write]) -> String {
    let brief = writes.iter().map(|write| {
        let mut all = match write {
            Write::Entries(entries) => {
                format!("{} #{} {:?}", entries.call(), entries.first().0, entries.read())
            }
            other => format!("{other:?}"),
        };
        all.truncate(120);
        all
    });
    brief.collect::<Vec<_>>().join("; ")
}
