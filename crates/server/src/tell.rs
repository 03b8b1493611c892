//! From what the switchboard says to what goes over the wire.

use bytes::{Bytes, BytesMut};
use helpline_proto::{
    code::{Code, Why as WireWhy},
    ids::{CallId, Resumable},
    message::{
        self, Admitted, Away, Back, Busy, Closed, Connected, Ended, Error, Goodbye, IsTyping,
        Joined, Left, Listed, Message, Offer, Place, PutBack, Ref, Resumed, Said, WaitSeconds,
        Withdrawn,
    },
    text::{Detail, LineName, Text},
    time::UnixMillis,
};
use helpline_switchboard::{Board, Dismissal, Entry, Expulsion, Item, Notice, Refusal, Wait, Why};

use crate::calendar;

/// The least time a caller who heard *busy* is asked to stay away, in seconds.
const RETRY_SOONEST: u32 = 10;

/// How long such a caller is asked to stay away while nothing is known, in seconds.
const RETRY_UNKNOWN: u32 = 60;

/// What those hear whom a turn concerned that is not recorded.
const NO_ROOM: &str =
    "the server can record nothing at the moment: its disk is full, or its database is locked";

/// What a line says of itself to whoever is let in.
#[derive(Clone, Debug)]
pub struct About {
    /// Its name.
    pub line: LineName,
    /// What it says first.
    pub greeting: Option<Text>,
}

/// An entry as a message.
#[must_use]
pub fn entry(call: CallId, entry: Entry) -> Message {
    let Entry { seq, at, item } = entry;
    match item {
        Item::Said { from, name, nonce, text } => {
            Said { call, seq, from, name, at, text, nonce }.into()
        }
        Item::Joined { from, name } => Joined { call, seq, at, from, name }.into(),
        Item::Left { from, name } => Left { call, seq, at, from, name }.into(),
        Item::Ended { by, why } => Ended { call, seq, at, by, why: wire_why(why) }.into(),
    }
}

/// A notice as a message.
#[must_use]
pub fn notice(about: &About, notice: Notice) -> Message {
    match notice {
        Notice::Admitted { name } => {
            Admitted { line: about.line.clone(), name, greeting: about.greeting.clone() }.into()
        }
        Notice::Place { call, position, waiting, wait, next_nonce } => {
            Place { call, position, waiting, wait_s: wait.map(seconds), next_nonce }.into()
        }
        Notice::Connected { call, peer, next_nonce } => Connected { call, peer, next_nonce }.into(),
        Notice::Resumed { calls } => {
            let calls = calls.into_iter();
            let calls = calls.map(|listed| Listed {
                call: listed.call,
                next_nonce: listed.next_nonce,
                last: listed.last,
            });
            Resumed { calls: calls.collect() }.into()
        }
        Notice::Away { call, from } => Away { call, from }.into(),
        Notice::Back { call, from } => Back { call, from }.into(),
        Notice::PutBack { call } => PutBack { call }.into(),
        Notice::Typing { call, from } => IsTyping { call, from }.into(),
        Notice::Offer { call, name, waiting } => Offer { call, name, waiting }.into(),
        Notice::Withdrawn { call, name, waiting } => Withdrawn { call, name, waiting }.into(),
        Notice::Board(board) => self::board(board).into(),
    }
}

fn board(board: Board) -> message::Board {
    let first = board.first.into_iter();
    let talking = board.talking.into_iter();
    message::Board {
        waiting: board.waiting,
        first: first
            .map(|waiter| message::Waiter {
                call: waiter.call,
                name: waiter.name,
                since: waiter.since,
            })
            .collect(),
        talking: talking
            .map(|talk| message::Talk {
                call: talk.call,
                name: talk.name,
                operator: talk.operator,
                since: talk.since,
            })
            .collect(),
    }
}

/// What a caller hears who is not let in.
#[must_use]
pub fn turned_away(refusal: Refusal) -> Message {
    match refusal {
        Refusal::Busy { wait } => Busy {
            why: WireWhy::FULL,
            retry_after_s: wait.map_or(RETRY_UNKNOWN, |wait| wait.low.max(RETRY_SOONEST)),
            wait_s: wait.map(seconds),
        }
        .into(),
        Refusal::Closed => {
            Closed { why: WireWhy::STOPPING, retry_after_s: None, wait_s: None }.into()
        }
        other => self::refusal(other),
    }
}

/// A refusal as a message.
#[must_use]
pub fn refusal(refusal: Refusal) -> Message {
    let (code, detail) = match refusal {
        Refusal::Nonce { next } => {
            let detail = format!("the next nonce is {}", next.0);
            return Error { code: Code::NONCE, detail: Detail::cut(&detail) }.into();
        }
        Refusal::Busy { .. } => (Code::OUT_OF_TURN, "every place is taken"),
        Refusal::Closed => (Code::STOPPING, "the line is closing"),
        Refusal::NoSuchCall => (Code::NO_SUCH_CALL, "no such call of yours"),
        Refusal::CallEnded => (Code::CALL_ENDED, "the call is over"),
        Refusal::CallFull => (Code::CALL_FULL, "the call has as many entries as it can have"),
        Refusal::NobodyWaiting => (Code::NOBODY_WAITING, "nobody is waiting"),
        Refusal::FirstIsAway => (
            Code::NOBODY_WAITING,
            "the first in line has lost the connection, and has a few seconds to come back",
        ),
        Refusal::NotOffered => (Code::NOT_OFFERED, "this call is not offered to you"),
        Refusal::Occupied => (Code::OCCUPIED, "you are in a call"),
        Refusal::NotAllowed => (Code::NOT_ALLOWED, "only operators may ask for this"),
    };
    Error { code, detail: Detail::cut(detail) }.into()
}

/// The last words to a party whose connection ends.
#[must_use]
pub fn dismissal(why: Dismissal) -> Message {
    match why {
        Dismissal::Done => goodbye(Code::DONE, "goodbye"),
        Dismissal::Expelled(Expulsion::Account) => kept_out(Code::DISABLED),
        Dismissal::Expelled(Expulsion::Address) => kept_out(Code::BANNED),
        Dismissal::EndNotSeen => until_later(
            Code::END_NOT_SEEN,
            "the end of the call was not answered within 10 s",
            None,
        ),
        Dismissal::Stopped => until_later(Code::STOPPING, "the line has stopped", None),
    }
}

/// To a connection whose peer has come back on another one.
#[must_use]
pub fn superseded() -> Message {
    goodbye(Code::SUPERSEDED, "somebody has come back with the same ticket, on another connection")
}

/// To somebody who doesn't belong.
#[must_use]
pub fn kept_out(code: Code) -> Message {
    let detail = match code {
        Code::INVITATION => "this line asks for an invitation, and this is none that holds",
        Code::NOT_RECOGNISED => "no account has this name and token",
        Code::DISABLED => "your account was disabled or removed, or has another token",
        Code::BANNED => "nothing is taken from your address any more",
        _ => "",
    };
    goodbye(code, detail)
}

/// To somebody whose address is banned until then.
#[must_use]
pub fn banned(until: UnixMillis, now: UnixMillis) -> Message {
    let detail = format!("nothing is taken from your address until {}", calendar::utc(until));
    let seconds = until.0.saturating_sub(now.0).max(0).unsigned_abs().div_ceil(1000);
    Goodbye {
        code: Code::BANNED,
        detail: Detail::cut(&detail),
        retry_after_s: Some(u32::try_from(seconds).unwrap_or(u32::MAX)),
        resumable: Resumable::No,
    }
    .into()
}

/// To a caller while as many of the same address wait as may.
#[must_use]
pub fn crowded() -> Message {
    Busy { why: WireWhy::TOO_MANY, retry_after_s: RETRY_UNKNOWN, wait_s: None }.into()
}

/// To an operator who would ban what has no address.
#[must_use]
pub fn no_address() -> Message {
    let detail =
        "this caller comes from the server's own machine, or hasn't come back since it started";
    Error { code: Code::NO_ADDRESS, detail: Detail::cut(detail) }.into()
}

/// To somebody whose ticket stands for nothing any more.
#[must_use]
pub fn spent() -> Message {
    goodbye(Code::NO_SUCH_TICKET, "what this ticket stood for is over")
}

/// To a connection that brings nothing more.
#[must_use]
pub fn gone() -> Message {
    until_later(Code::DONE, "nothing more came; what was begun is kept for a while", None)
}

/// To those whose line is not recorded.
#[must_use]
pub fn not_recorded() -> Message {
    let detail = Detail::cut(NO_ROOM);
    Error { code: Code::DISK_FULL, detail }.into()
}

/// To those who could not be let in.
#[must_use]
pub fn not_let_in() -> Message {
    let (code, detail) = (Code::DISK_FULL, Detail::cut(NO_ROOM));
    let retry_after_s = Some(RETRY_UNKNOWN);
    Goodbye { code, detail, retry_after_s, resumable: Resumable::No }.into()
}

/// To everybody, when the line goes back to what is recorded.
#[must_use]
pub fn come_back() -> Message {
    until_later(Code::DISK_FULL, NO_ROOM, Some(1))
}

/// A goodbye after which nothing can be resumed.
#[must_use]
pub fn goodbye(code: Code, detail: &str) -> Message {
    Goodbye { code, detail: Detail::cut(detail), retry_after_s: None, resumable: Resumable::No }
        .into()
}

/// A goodbye to somebody who may come back.
fn until_later(code: Code, detail: &str, retry_after_s: Option<u32>) -> Message {
    Goodbye { code, detail: Detail::cut(detail), retry_after_s, resumable: Resumable::Yes }.into()
}

/// The frame of a message the server made.
#[must_use]
pub fn frame(message: &Message, reference: Ref) -> Bytes {
    let mut frame = BytesMut::with_capacity(128);
    put(message, reference, &mut frame);
    frame.freeze()
}

/// Puts the frame of a message the server made behind `frames`. None comes near the limit of a frame.
pub fn put(message: &Message, reference: Ref, frames: &mut BytesMut) {
    if let Err(error) = message.encode(reference, frames) {
        tracing::error!(%error, "a message of the server's own is too large");
    }
}

/// What a message says of an entry, and of which call; none if it is about something else.
#[must_use]
pub fn recorded(message: Message) -> Option<(CallId, Entry)> {
    let (call, seq, at, item) = match message {
        Message::Said(Said { call, seq, from, name, at, text, nonce }) => {
            (call, seq, at, Item::Said { from, name, nonce, text })
        }
        Message::Joined(Joined { call, seq, at, from, name }) => {
            (call, seq, at, Item::Joined { from, name })
        }
        Message::Left(Left { call, seq, at, from, name }) => {
            (call, seq, at, Item::Left { from, name })
        }
        Message::Ended(Ended { call, seq, at, by, why }) => {
            let whys = [Why::Bye, Why::Abandoned, Why::TimedOut, Why::Banned];
            let why = whys.into_iter().find(|known| wire_why(*known) == why)?;
            (call, seq, at, Item::Ended { by, why })
        }
        _ => return None,
    };
    Some((call, Entry { seq, at, item }))
}

fn wire_why(why: Why) -> WireWhy {
    match why {
        Why::Bye => WireWhy::BYE,
        Why::Abandoned => WireWhy::ABANDONED,
        Why::TimedOut => WireWhy::TIMED_OUT,
        Why::Banned => WireWhy::BANNED,
    }
}

fn seconds(wait: Wait) -> WaitSeconds {
    WaitSeconds(wait.low, wait.high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_names_its_end() {
        let told = banned(UnixMillis(1_800_000_000_001), UnixMillis(1_799_999_999_000));
        let Message::Goodbye(goodbye) = told else { panic!("{told:?}") };
        let detail = "nothing is taken from your address until 2027-01-15 08:00:00Z";
        assert_eq!((goodbye.detail.as_str(), goodbye.retry_after_s), (detail, Some(2)));
    }
}
