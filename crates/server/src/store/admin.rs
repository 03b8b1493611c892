//! What administrators write: their own tables, beside a running server or without one.
//!
//! Each change is one short transaction with its line in the audit: neither is there without the other.

use std::{path::Path, time::Duration};

use helpline_proto::{text::Name, time::UnixMillis};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::{
    access::{Account, Audit, Invitation, SecretHash},
    network::Network,
};

use super::{
    DATABASE, StoreError,
    belonging::{self, NewBan},
    schema,
};

/// How long a server that writes is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The database, to administer.
#[derive(Debug)]
pub struct Admin(Connection);

/// An account, with its dates.
#[derive(Clone, Debug, PartialEq)]
pub struct DatedAccount {
    /// The account.
    pub account: Account,
    /// When it was made.
    pub made_at: UnixMillis,
    /// Since when it is disabled.
    pub disabled_at: Option<UnixMillis>,
}

/// A ban, with what is said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedBan {
    /// Who is banned.
    pub network: Network,
    /// Until when.
    pub until: UnixMillis,
    /// Why.
    pub reason: String,
    /// Who has banned them.
    pub by: String,
    /// When.
    pub at: UnixMillis,
}

/// An invitation, with what is said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedInvitation {
    /// Its number.
    pub number: i64,
    /// The invitation.
    pub invitation: Invitation,
    /// Who has made it.
    pub by: String,
    /// When.
    pub at: UnixMillis,
}

impl Admin {
    /// Opens the database in a directory, or makes it.
    ///
    /// # Errors
    /// It can't be opened, or not be brought up to date.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let mut database = Connection::open(directory.join(DATABASE))?;
        database.busy_timeout(PATIENCE)?;
        database.pragma_update(None, "journal_mode", "wal")?;
        database.pragma_update(None, "synchronous", "full")?;
        database.pragma_update(None, "secure_delete", true)?;
        schema::migrate(&mut database)?;
        Ok(Self(database))
    }

    /// Changes something, and records who has. False, and nothing is recorded, if there was nothing to change.
    fn change(
        &mut self,
        audit: &Audit,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>,
    ) -> Result<bool, StoreError> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if change(&transaction)? == 0 {
            return Ok(false);
        }
        belonging::add_audit(&transaction, audit)?;
        transaction.commit()?;
        Ok(true)
    }

    /// Adds a line to the audit.
    ///
    /// # Errors
    /// It can't be written.
    pub fn audit(&mut self, audit: &Audit) -> Result<(), StoreError> {
        Ok(belonging::add_audit(&self.0, audit)?)
    }

    /// Makes an account. False if there is one of this name.
    ///
    /// # Errors
    /// It can't be written.
    pub fn add_account(&mut self, account: &Account, audit: &Audit) -> Result<bool, StoreError> {
        self.change(audit, |database| belonging::add_account(database, account, audit.at))
    }

    /// Disables an account. False if there is none of this name, or it is disabled.
    ///
    /// # Errors
    /// It can't be written.
    pub fn disable_account(&mut self, name: &Name, audit: &Audit) -> Result<bool, StoreError> {
        self.change(audit, |database| {
            let sql = "UPDATE account SET disabled_at = ? WHERE name = ? AND disabled_at IS NULL";
            database.execute(sql, params![audit.at.0, name.as_str()])
        })
    }

    /// Removes an account. False if there is none of this name.
    ///
    /// # Errors
    /// It can't be written.
    pub fn remove_account(&mut self, name: &Name, audit: &Audit) -> Result<bool, StoreError> {
        self.change(audit, |database| {
            database.execute("DELETE FROM account WHERE name = ?", [name.as_str()])
        })
    }

    /// Gives an account another token, and lets it sign on again if it was disabled. False if there is none of
    /// this name.
    ///
    /// # Errors
    /// It can't be written.
    pub fn rotate_account(
        &mut self,
        name: &Name,
        token: SecretHash,
        audit: &Audit,
    ) -> Result<bool, StoreError> {
        self.change(audit, |database| {
            let sql = "UPDATE account SET token = ?, disabled_at = NULL WHERE name = ?";
            database.execute(sql, params![token.0, name.as_str()])
        })
    }

    /// Every account, by name.
    ///
    /// # Errors
    /// They can't be read.
    pub fn accounts(&self) -> Result<Vec<DatedAccount>, StoreError> {
        let sql = "SELECT name, role, token, made_at, disabled_at FROM account ORDER BY name";
        let mut statement = self.0.prepare(sql)?;
        let mut found = statement.query([])?;
        let mut accounts = Vec::new();
        while let Some(row) = found.next()? {
            accounts.push(DatedAccount {
                account: belonging::account(row)?,
                made_at: UnixMillis(row.get(3)?),
                disabled_at: row.get::<_, Option<i64>>(4)?.map(UnixMillis),
            });
        }
        Ok(accounts)
    }

    /// Bans a network.
    ///
    /// # Errors
    /// It can't be written.
    pub fn ban(&mut self, ban: &NamedBan, audit: &Audit) -> Result<(), StoreError> {
        let NamedBan { network, until, reason, by, at } = ban;
        let ban = NewBan { network: *network, until: *until, reason, by, at: *at };
        self.change(audit, |database| belonging::add_ban(database, &ban).map(|()| 1)).map(drop)
    }

    /// Lifts every ban of exactly this network. False if there is none.
    ///
    /// # Errors
    /// It can't be written.
    pub fn lift(&mut self, network: Network, audit: &Audit) -> Result<bool, StoreError> {
        self.change(audit, |database| {
            database.execute("DELETE FROM ban WHERE network = ?", [network.to_string()])
        })
    }

    /// Every ban that hasn't ended by now, the first to end first.
    ///
    /// # Errors
    /// They can't be read.
    pub fn bans(&self, now: UnixMillis) -> Result<Vec<NamedBan>, StoreError> {
        let sql = "SELECT network, until, reason, made_by, made_at FROM ban
                   WHERE until > ? ORDER BY until, number";
        let mut statement = self.0.prepare(sql)?;
        let mut found = statement.query([now.0])?;
        let mut bans = Vec::new();
        while let Some(row) = found.next()? {
            bans.push(NamedBan {
                network: belonging::network(&row.get::<_, String>(0)?)?,
                until: UnixMillis(row.get(1)?),
                reason: row.get(2)?,
                by: row.get(3)?,
                at: UnixMillis(row.get(4)?),
            });
        }
        Ok(bans)
    }

    /// Makes an invitation.
    ///
    /// # Errors
    /// It can't be written.
    pub fn invite(
        &mut self,
        invitation: &Invitation,
        by: &str,
        audit: &Audit,
    ) -> Result<(), StoreError> {
        let add = |database: &Transaction<'_>| {
            belonging::add_invitation(database, invitation, by, audit.at).map(|()| 1)
        };
        self.change(audit, add).map(drop)
    }

    /// Takes an invitation back. False if there is none of this number that could still be used.
    ///
    /// # Errors
    /// It can't be written.
    pub fn uninvite(&mut self, number: i64, audit: &Audit) -> Result<bool, StoreError> {
        self.change(audit, |database| {
            database.execute("DELETE FROM invitation WHERE number = ?", [number])
        })
    }

    /// Every invitation that holds now.
    ///
    /// # Errors
    /// They can't be read.
    pub fn invitations(&self, now: UnixMillis) -> Result<Vec<NamedInvitation>, StoreError> {
        let sql = "SELECT number, code, uses, until, made_by, made_at FROM invitation
                   WHERE until IS NULL OR until > ? ORDER BY number";
        let mut statement = self.0.prepare(sql)?;
        let mut found = statement.query([now.0])?;
        let mut invitations = Vec::new();
        while let Some(row) = found.next()? {
            invitations.push(NamedInvitation {
                number: row.get(0)?,
                invitation: Invitation {
                    code: SecretHash(row.get(1)?),
                    uses: belonging::uses(row.get(2)?)?,
                    until: row.get::<_, Option<i64>>(3)?.map(UnixMillis),
                },
                by: row.get(4)?,
                at: UnixMillis(row.get(5)?),
            });
        }
        Ok(invitations)
    }

    /// Goes through the audit, oldest first.
    ///
    /// # Errors
    /// It can't be read, or `each` failed.
    pub fn audits<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(Audit) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |error: rusqlite::Error| E::from(StoreError::from(error));
        let sql = "SELECT at, who, seat, did, about FROM audit ORDER BY number";
        let mut statement = self.0.prepare(sql).map_err(failed)?;
        let mut found = statement.query([]).map_err(failed)?;
        while let Some(row) = found.next().map_err(failed)? {
            each(belonging::audit(row)?)?;
        }
        Ok(())
    }
}
