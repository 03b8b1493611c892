//! Who belongs, as rows: accounts, invitations, bans and the audit.

use helpline_proto::{ids::Uses, text::Name, time::UnixMillis};
use helpline_switchboard::OperatorId;
use rusqlite::{Connection, Row, params};

use crate::{
    access::{Access, Account, Audit, Did, Invitation, Role, Seat, SecretHash},
    gate::Ban,
    network::Network,
};

use super::{StoreError, numbers::unsigned};

/// A ban to write.
pub(super) struct NewBan<'a> {
    pub(super) network: Network,
    pub(super) until: UnixMillis,
    pub(super) reason: &'a str,
    pub(super) by: &'a str,
    pub(super) at: UnixMillis,
}

pub(super) fn access(database: &Connection) -> Result<Access, StoreError> {
    let mut access = Access::default();
    let mut statement =
        database.prepare_cached("SELECT name, role, token, made_at, disabled_at FROM account")?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        access.accounts.push(account(row)?);
    }
    let mut statement =
        database.prepare_cached("SELECT code, uses, until FROM invitation ORDER BY number")?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        access.invitations.push(Invitation {
            code: SecretHash(row.get(0)?),
            uses: uses(row.get(1)?)?,
            until: row.get::<_, Option<i64>>(2)?.map(UnixMillis),
        });
    }
    let mut statement =
        database.prepare_cached("SELECT network, until FROM ban ORDER BY number")?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let (network, until) = (network(&row.get::<_, String>(0)?)?, UnixMillis(row.get(1)?));
        access.bans.push(Ban { network, until });
    }
    Ok(access)
}

pub(super) fn credentials(
    database: &Connection,
) -> Result<Vec<(OperatorId, SecretHash)>, StoreError> {
    let mut statement = database.prepare_cached(
        "SELECT number, token FROM sign_on
         WHERE until IS NULL AND token IS NOT NULL ORDER BY number",
    )?;
    let mut found = statement.query([])?;
    let mut tokens = Vec::new();
    while let Some(row) = found.next()? {
        tokens.push((OperatorId(unsigned(row.get(0)?)?), SecretHash(row.get(1)?)));
    }
    Ok(tokens)
}

/// An account from a row of its name, role, token, when it was made and when disabled.
pub(super) fn account(row: &Row<'_>) -> Result<Account, StoreError> {
    Ok(Account {
        name: Name::new(row.get::<_, String>(0)?)
            .map_err(|_| StoreError::Nonsense("an account with an impossible name"))?,
        role: match row.get(1)? {
            1 => Role::Operator,
            2 => Role::Supervisor,
            _ => return Err(StoreError::Nonsense("an account without a role")),
        },
        token: SecretHash(row.get(2)?),
        disabled: row.get::<_, Option<i64>>(4)?.is_some(),
    })
}

pub(super) fn network(written: &str) -> Result<Network, StoreError> {
    written.parse().map_err(|_| StoreError::Nonsense("a ban of no network"))
}

pub(super) fn uses(number: i64) -> Result<Uses, StoreError> {
    match number {
        1 => Ok(Uses::Once),
        2 => Ok(Uses::Many),
        _ => Err(StoreError::Nonsense("an invitation for nothing")),
    }
}

pub(super) fn add_account(
    database: &Connection,
    account: &Account,
    at: UnixMillis,
) -> rusqlite::Result<usize> {
    let role = match account.role {
        Role::Operator => 1,
        Role::Supervisor => 2,
    };
    database.execute(
        "INSERT INTO account (name, role, token, made_at) VALUES (?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
        params![account.name.as_str(), role, account.token.0, at.0],
    )
}

/// Adds a ban, in the place of those of the same network that it outlasts.
pub(super) fn add_ban(database: &Connection, ban: &NewBan<'_>) -> rusqlite::Result<()> {
    database
        .prepare_cached("DELETE FROM ban WHERE network = ? AND until <= ?")?
        .execute(params![ban.network.to_string(), ban.until.0])?;
    database
        .prepare_cached(
            "INSERT INTO ban (network, until, reason, made_by, made_at) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![ban.network.to_string(), ban.until.0, ban.reason, ban.by, ban.at.0])?;
    Ok(())
}

pub(super) fn add_invitation(
    database: &Connection,
    invitation: &Invitation,
    by: &str,
    at: UnixMillis,
) -> rusqlite::Result<()> {
    let uses = match invitation.uses {
        Uses::Once => 1,
        Uses::Many => 2,
    };
    let until = invitation.until.map(|until| until.0);
    database
        .prepare_cached(
            "INSERT INTO invitation (code, uses, until, made_by, made_at) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![invitation.code.0, uses, until, by, at.0])?;
    Ok(())
}

pub(super) fn add_audit(database: &Connection, audit: &Audit) -> rusqlite::Result<()> {
    let Audit { at, who, seat, did, about } = audit;
    database
        .prepare_cached("INSERT INTO audit (at, who, seat, did, about) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![at.0, who, seat.number(), did.number(), about])?;
    Ok(())
}

/// A line of the audit from a row of when, who, seat, what and about what.
pub(super) fn audit(row: &Row<'_>) -> Result<Audit, StoreError> {
    let nonsense = || StoreError::Nonsense("an audit of nothing");
    Ok(Audit {
        at: UnixMillis(row.get(0)?),
        who: row.get(1)?,
        seat: Seat::numbered(row.get(2)?).ok_or_else(nonsense)?,
        did: Did::numbered(row.get(3)?).ok_or_else(nonsense)?,
        about: row.get(4)?,
    })
}
