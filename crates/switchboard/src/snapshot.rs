//! Everything of a line that outlives its process.

use helpline_proto::{
    ids::{Answering, CallId, Nonce, Seq},
    text::Name,
    time::UnixMillis,
};

use crate::{OperatorId, Presence, QueueNumber, TicketHash};

/// What a store gives back at start, and all that a line needs to go on.
///
/// Who is connected isn't in it: after a start everybody is away.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The number of the next call to be admitted.
    pub next_number: QueueNumber,
    /// Those who are signed on, by sign-on.
    pub operators: Vec<KeptOperator>,
    /// The calls that aren't over, or whose end somebody has still to see, by queue number.
    pub calls: Vec<KeptCall>,
}

/// A signed-on operator.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptOperator {
    pub operator: OperatorId,
    pub ticket: TicketHash,
    pub name: Name,
    pub answering: Answering,
    pub presence: Presence,
}

/// A call that goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptCall {
    pub call: CallId,
    pub number: QueueNumber,
    pub ticket: TicketHash,
    pub name: Name,
    /// When it was admitted.
    pub since: UnixMillis,
    pub state: KeptState,
    /// Whether an operator has ever answered it.
    pub answered: bool,
    /// The number of its last entry; 0 while there is none.
    pub last_seq: Seq,
    /// The nonce of the caller's next line.
    pub caller_next: Nonce,
    /// The nonce of the operator's next line.
    pub operator_next: Nonce,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptState {
    Waiting,
    /// Connected with this operator since then.
    Connected {
        operator: OperatorId,
        since: UnixMillis,
    },
    /// Over; these have still to see it.
    Ended {
        caller: bool,
        operator: Option<OperatorId>,
    },
}

impl Default for Snapshot {
    /// A line on which nobody has ever been.
    fn default() -> Self {
        Self { next_number: QueueNumber(1), operators: Vec::new(), calls: Vec::new() }
    }
}
