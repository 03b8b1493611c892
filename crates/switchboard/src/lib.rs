//! Who waits and who talks to whom: the pure rules of one line.
//!
//! No clock, no randomness, no files, no messages: an [`Input`] goes into [`Switchboard::handle`],
//! [`Effect`]s come out. The caller records every record and entry of a batch, and only then tells
//! anybody anything.
//!
//! The records and entries say all that must survive: whoever applies them holds the [`Snapshot`] from which
//! [`Switchboard::restore`] goes on. Being away isn't recorded: after a start everybody is.

use helpline_proto::{
    ids::{Answering, By, CallId, Nonce, Seq, Side},
    text::{Name, Text},
    time::{Moment, UnixMillis},
};

pub use line::{Rules, Switchboard};
pub use snapshot::{KeptCall, KeptOperator, KeptState, Snapshot};

mod board;
mod call;
mod calls;
mod line;
mod queue;
mod roster;
mod snapshot;
mod timers;
mod wait;

/// What time it is, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For timers.
    pub moment: Moment,
    /// For entries, shown to people.
    pub at: UnixMillis,
}

/// Names one sign-on of an operator; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorId(pub u64);

/// The place of a call in the recorded order of arrival, for ever; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueNumber(pub u64);

/// What is kept of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketHash(pub [u8; 32]);

/// Somebody on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// The caller of a call.
    Caller(CallId),
    /// A signed-on operator.
    Operator(OperatorId),
}

/// What happens to the line.
#[derive(Clone, Debug)]
pub enum Input {
    /// Somebody wants a place. `call` is fresh.
    Join { call: CallId, ticket: TicketHash, name: Name },
    /// Somebody wants to answer. `operator` is fresh and larger than any before.
    SignOn { operator: OperatorId, ticket: TicketHash, name: Name, answering: Answering },
    /// A party asks for something.
    Ask { from: Party, request: Request },
    /// The connection of a party merely ended.
    Away(Party),
    /// A party has a connection again, or another one.
    Back(Party),
    /// A caller is shut out: the call, if it isn't over, ends, and this is who has ended it.
    Bar { call: CallId, by: By },
    /// An operator may not answer any longer: as if they had signed off, and for this reason.
    Expel(OperatorId, Expulsion),
    /// The line closes: no new callers, nobody waiting is connected, those who talk go on.
    Stop,
    /// The line is closed: everybody is sent away, and may come back when it opens again.
    End,
}

/// Why an operator may not answer any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expulsion {
    /// Their account is none any more, or has another token.
    Account,
    /// Their address is banned.
    Address,
}

/// What a party may ask for.
#[derive(Clone, Debug)]
pub enum Request {
    Say { call: CallId, nonce: Nonce, text: Text },
    HangUp { call: CallId },
    Typing { call: CallId },
    EndSeen { call: CallId },
    Next,
    Answer { call: CallId },
    Ready,
    Pause,
    SignOff,
}

/// What follows from an input, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// To be recorded.
    Record(Record),
    /// To be recorded, and then told to those who hear the call.
    Entry { call: CallId, entry: Entry, hearers: Hearers },
    /// To be told, once everything before it is recorded.
    Tell { to: Party, notice: Notice },
    /// The answer to this very input, which changed nothing else.
    Refuse(Refusal),
    /// The party's connection ends when everything told has gone out.
    Dismiss { party: Party, why: Dismissal },
}

/// What must survive, beside entries.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A call was admitted, under a queue number it keeps.
    Opened { call: CallId, number: QueueNumber, ticket: TicketHash, name: Name, at: UnixMillis },
    /// An operator answered the call.
    Answered { call: CallId, operator: OperatorId, at: UnixMillis },
    /// The call waits again.
    PutBack { call: CallId },
    /// The call is over. Its caller has still to see that, and so has its operator, if it was connected.
    Closed { call: CallId, at: UnixMillis },
    /// A side has seen the end of the call, or is given up.
    Done { call: CallId, side: Side },
    /// An operator signed on.
    SignedOn {
        operator: OperatorId,
        ticket: TicketHash,
        name: Name,
        answering: Answering,
        at: UnixMillis,
    },
    /// An operator chose to be available, or not.
    Chose { operator: OperatorId, presence: Presence },
    /// An operator signed off, or is given up.
    SignedOff { operator: OperatorId, at: UnixMillis },
    /// A caller heard *busy*. A mere count: it need not be synced by itself.
    Refused,
}

/// One numbered item of a transcript.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub seq: Seq,
    pub at: UnixMillis,
    pub item: Item,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Said { from: Side, name: Name, nonce: Nonce, text: Text },
    Joined { from: Side, name: Name },
    Left { from: Side, name: Name },
    Ended { by: By, why: Why },
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// One side hung up.
    Bye,
    /// The caller hung up before anybody answered.
    Abandoned,
    /// The caller was away for longer than the call is kept.
    TimedOut,
    /// The caller was shut out.
    Banned,
}

/// What an operator chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// To be given or offered callers.
    Available,
    /// Not to be.
    Break,
}

/// Who is told an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hearers {
    /// The call's caller hears it.
    pub caller: bool,
    /// The operator who hears it.
    pub operator: Option<OperatorId>,
}

/// An honest guess at a wait, in seconds: from the lower to the higher bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub low: u32,
    pub high: u32,
}

/// What a party is told, beside entries.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// It has joined, signed on or resumed, under this name.
    Admitted { name: Name },
    /// It has resumed, and these are its calls. The entries it hasn't shown follow.
    Resumed { calls: Vec<Listed> },
    /// Its place in the queue, from 1.
    Place { call: CallId, position: u32, waiting: u32, wait: Option<Wait>, next_nonce: Nonce },
    /// It talks with `peer` now. The transcript so far follows for an operator.
    Connected { call: CallId, peer: Name, next_nonce: Nonce },
    /// The other side types.
    Typing { call: CallId, from: Side },
    /// The operator's call waits again, and is no longer the operator's.
    PutBack { call: CallId },
    /// The connection of the other side ended.
    Away { call: CallId, from: Side },
    /// The other side has a connection again.
    Back { call: CallId, from: Side },
    /// The first in line waits for an answer.
    Offer { call: CallId, name: Name, waiting: u32 },
    /// What was offered no longer is.
    Withdrawn { call: CallId, name: Name, waiting: u32 },
    /// The state of the line.
    Board(Board),
}

/// A call of somebody who resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub call: CallId,
    /// The nonce of the party's next line.
    pub next_nonce: Nonce,
    /// The number of the last entry so far; 0 while there is none.
    pub last: Seq,
}

/// The state of the line, for operators.
#[derive(Clone, Debug, PartialEq)]
pub struct Board {
    /// How many wait.
    pub waiting: u32,
    /// The first of them, at most [`BOARD_FIRST`](helpline_proto::limits::BOARD_FIRST).
    pub first: Vec<Waiter>,
    /// Calls being talked on, oldest answer first, at most
    /// [`BOARD_TALKING`](helpline_proto::limits::BOARD_TALKING).
    pub talking: Vec<Talk>,
}

/// A waiting caller on a board.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiter {
    pub call: CallId,
    pub name: Name,
    pub since: UnixMillis,
}

/// A call on a board.
#[derive(Clone, Debug, PartialEq)]
pub struct Talk {
    pub call: CallId,
    pub name: Name,
    pub operator: Name,
    pub since: UnixMillis,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Every place is taken. The wait is the one a caller would have had.
    Busy { wait: Option<Wait> },
    /// The line is closing.
    Closed,
    /// Not a call of this party: unknown, or somebody else's.
    NoSuchCall,
    /// The call is over.
    CallEnded,
    /// Not the next nonce.
    Nonce { next: Nonce },
    /// The call has as many entries as it can have.
    CallFull,
    /// Nobody waits.
    NobodyWaiting,
    /// The first in line is away, and has a few seconds to come back.
    FirstIsAway,
    /// The call is not offered to this operator.
    NotOffered,
    /// The operator is in a call.
    Occupied,
    /// Not a request for this kind of party.
    NotAllowed,
}

/// Why a party's connection may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    /// Its part is over: its ticket is forgotten.
    Done,
    /// It may not answer any longer: its ticket is forgotten.
    Expelled(Expulsion),
    /// It did not answer the end of its call in time. It is away now, and may come back.
    EndNotSeen,
    /// The line has stopped. It may come back when the line opens again.
    Stopped,
}
