//! How entries look as rows.

use helpline_proto::{
    ids::{By, Nonce, Seq, Side},
    text::{Name, Text},
    time::UnixMillis,
};
use helpline_switchboard::{Entry, Item, Why};
use rusqlite::Row;

use super::StoreError;

/// The columns, in the order that [`read`] expects and [`Columns`] has.
pub(super) const COLUMNS: &str = "seq, at, kind, side, name, nonce, text, why";

/// An entry as values to write.
pub(super) struct Columns<'a> {
    pub(super) kind: i64,
    pub(super) side: i64,
    pub(super) name: Option<&'a str>,
    pub(super) nonce: Option<u32>,
    pub(super) text: Option<&'a str>,
    pub(super) why: Option<i64>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(item: &'a Item) -> Self {
        let empty = Self { kind: 0, side: 0, name: None, nonce: None, text: None, why: None };
        match item {
            Item::Said { from, name, nonce, text } => Self {
                kind: 1,
                side: side(*from),
                name: Some(name.as_str()),
                nonce: Some(nonce.0),
                text: Some(text.as_str()),
                ..empty
            },
            Item::Joined { from, name } => {
                Self { kind: 2, side: side(*from), name: Some(name.as_str()), ..empty }
            }
            Item::Left { from, name } => {
                Self { kind: 3, side: side(*from), name: Some(name.as_str()), ..empty }
            }
            Item::Ended { by, why } => Self {
                kind: 4,
                side: match by {
                    By::Caller => 1,
                    By::Operator => 2,
                    By::Server => 3,
                },
                why: Some(match why {
                    Why::Bye => 1,
                    Why::Abandoned => 2,
                    // 3 and 4 are taken: see below.
                    Why::TimedOut => 5,
                    Why::Banned => 6,
                }),
                ..empty
            },
        }
    }
}

fn side(side: Side) -> i64 {
    match side {
        Side::Caller => 1,
        Side::Operator => 2,
    }
}

/// Reads an entry from a row that has [`COLUMNS`] first.
pub(super) fn read(row: &Row<'_>) -> Result<Entry, StoreError> {
    let by = match row.get(3)? {
        1 => By::Caller,
        2 => By::Operator,
        3 => By::Server,
        _ => return Err(StoreError::Nonsense("an entry by nobody")),
    };
    let from = match by {
        By::Caller => Ok(Side::Caller),
        By::Operator => Ok(Side::Operator),
        By::Server => Err(StoreError::Nonsense("an entry by a server")),
    };
    let name = || {
        Name::new(row.get::<_, String>(4)?)
            .map_err(|_| StoreError::Nonsense("an entry with an impossible name"))
    };
    let item = match row.get(2)? {
        1 => Item::Said {
            from: from?,
            name: name()?,
            nonce: Nonce(row.get(5)?),
            text: Text::new(row.get::<_, String>(6)?)
                .map_err(|_| StoreError::Nonsense("an entry with an impossible text"))?,
        },
        2 => Item::Joined { from: from?, name: name()? },
        3 => Item::Left { from: from?, name: name()? },
        4 => Item::Ended {
            by,
            why: match row.get(7)? {
                1 => Why::Bye,
                2 => Why::Abandoned,
                // The first form had 3 for lost and 4 for stopping: nobody could come back to
                // a call, so each broken connection and each stop was the end of it.
                3..=5 => Why::TimedOut,
                6 => Why::Banned,
                _ => return Err(StoreError::Nonsense("a call that ended for no reason")),
            },
        },
        _ => return Err(StoreError::Nonsense("an entry of no kind")),
    };
    Ok(Entry { seq: Seq(row.get(0)?), at: UnixMillis(row.get(1)?), item })
}

/// A number as the database has it.
pub(super) fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Nonsense("a number beyond all counting"))
}

/// A number as the switchboard has it.
pub(super) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Nonsense("a number below zero"))
}
