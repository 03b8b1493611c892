//! What a line needs to go on, read from the database.

use helpline_proto::{
    ids::{Answering, CallId},
    text::Name,
    time::UnixMillis,
};
use helpline_switchboard::{
    KeptCall, KeptOperator, KeptState, OperatorId, Presence, QueueNumber, Snapshot, TicketHash,
};
use rusqlite::{Connection, Row};

use super::{
    StoreError,
    live::{LIVE, Live},
    numbers::{signed, unsigned},
};

/// Reads what the database and what is known in memory say together.
pub(super) fn snapshot(database: &Connection, live: &Live) -> Result<Snapshot, StoreError> {
    let next_number =
        database.query_row("SELECT coalesce(max(number), 0) FROM call", [], |row| {
            row.get::<_, i64>(0)
        })?;
    let mut snapshot = Snapshot { next_number: after(next_number)?, ..Snapshot::default() };
    let mut statement = database.prepare_cached(
        "SELECT number, ticket, name, answering, presence FROM sign_on
         WHERE until IS NULL ORDER BY number",
    )?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        snapshot.operators.push(operator(row)?);
    }
    let mut statement = database.prepare_cached(&calls_sql())?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        snapshot.calls.push(call(row, live)?);
    }
    Ok(snapshot)
}

/// The next sign-on.
pub(super) fn next_operator(database: &Connection) -> Result<OperatorId, StoreError> {
    let sql = "SELECT coalesce(max(number), 0) FROM sign_on";
    let last: i64 = database.query_row(sql, [], |row| row.get(0))?;
    Ok(OperatorId(after(last)?.0))
}

/// The statement that finds the calls.
pub(super) fn calls_sql() -> String {
    format!(
        "SELECT number, id, ticket, name, opened_at, answered_at, state, operator, connected_at,
                caller_unseen, operator_unseen
         FROM call WHERE {LIVE} ORDER BY number"
    )
}

fn operator(row: &Row<'_>) -> Result<KeptOperator, StoreError> {
    Ok(KeptOperator {
        operator: OperatorId(unsigned(row.get(0)?)?),
        ticket: TicketHash(row.get(1)?),
        name: name(row.get(2)?)?,
        answering: match row.get(3)? {
            Some(1) => Answering::ByHand,
            Some(2) => Answering::ByItself,
            _ => return Err(StoreError::Nonsense("an operator who answers in no way")),
        },
        presence: match row.get(4)? {
            Some(1) => Presence::Available,
            Some(2) => Presence::Break,
            _ => return Err(StoreError::Nonsense("an operator who is neither here nor there")),
        },
    })
}

fn call(row: &Row<'_>, live: &Live) -> Result<KeptCall, StoreError> {
    let id = CallId(row.get(1)?);
    let number = row.get(0)?;
    let known = live.calls.get(&id).filter(|known| known.number == number);
    let progress = known.ok_or(StoreError::Nonsense("a call that wasn't there at start"))?.progress;
    let answered_at: Option<i64> = row.get(5)?;
    let operator = || {
        let operator: Option<i64> = row.get(7)?;
        let operator = operator.ok_or(StoreError::Nonsense("a call answered by nobody"))?;
        Ok::<_, StoreError>(OperatorId(unsigned(operator)?))
    };
    let state = match row.get(6)? {
        0 => KeptState::Waiting,
        1 => {
            let since: Option<i64> = row.get(8)?;
            let since = since.ok_or(StoreError::Nonsense("a call connected at no time"))?;
            KeptState::Connected { operator: operator()?, since: UnixMillis(since) }
        }
        2 => KeptState::Ended {
            caller: row.get(9)?,
            operator: if row.get(10)? { Some(operator()?) } else { None },
        },
        _ => return Err(StoreError::Nonsense("a call in no state")),
    };
    Ok(KeptCall {
        call: id,
        number: QueueNumber(unsigned(number)?),
        ticket: TicketHash(row.get(2)?),
        name: name(row.get(3)?)?,
        since: UnixMillis(row.get(4)?),
        state,
        answered: answered_at.is_some(),
        last_seq: progress.last_seq,
        caller_next: progress.caller_next,
        operator_next: progress.operator_next,
    })
}

fn name(name: String) -> Result<Name, StoreError> {
    Name::new(name).map_err(|_| StoreError::Nonsense("somebody with an impossible name"))
}

fn after(last: i64) -> Result<QueueNumber, StoreError> {
    let next = unsigned(last)?.saturating_add(1);
    // What couldn't be written any more is better said at start.
    signed(next).map(|_| QueueNumber(next))
}
