//! What is kept: one database, written by the core alone.
//!
//! Only the files below `store/` name the database.

use helpline_proto::{
    ids::{CallId, Seq},
    text::Detail,
    time::UnixMillis,
};
use helpline_switchboard::{Entry, Item, OperatorId, Record, Snapshot};

pub use self::sqlite::{FILE as DATABASE, SqliteStore};
use crate::{
    access::{Access, Audit, Invitation, SecretHash},
    entries::Entries,
    network::Network,
};

pub mod admin;
mod batch;
mod belonging;
mod chain;
mod forgetting;
mod kept;
mod live;
#[cfg(any(test, feature = "proofs"))]
pub mod memory;
mod numbers;
pub mod reading;
mod schema;
mod sqlite;
#[cfg(test)]
mod tests;

/// One thing to write.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Entries of a call's transcript.
    Entries(Entries),
    /// Anything else the switchboard wants kept.
    Record(Record),
    /// This many more callers heard *busy*.
    Refused(u32),
    /// What is kept of the token with which an operator has just signed on.
    Credential(OperatorId, SecretHash),
    /// An operator's ban.
    Ban {
        /// Who is banned.
        network: Network,
        /// Until when.
        until: UnixMillis,
        /// Why.
        reason: Detail,
        /// Who has banned them.
        by: String,
        /// When.
        at: UnixMillis,
    },
    /// An operator's invitation.
    Invitation {
        /// The invitation.
        invitation: Invitation,
        /// Who has made it.
        by: String,
        /// When.
        at: UnixMillis,
    },
    /// An invitation was used, and holds no longer.
    InvitationUsed(SecretHash),
    /// A line of the audit.
    Audit(Audit),
    /// What has run out by now is deleted, and so is every call that was over before then and that everybody
    /// has seen the end of.
    Tidy {
        /// Now.
        now: UnixMillis,
        /// Before when; no calls if there is none.
        ended_before: Option<UnixMillis>,
    },
}

/// The store failed. What it was asked to write may or may not be there, unless
/// [`is_rolled_back`](StoreError::is_rolled_back) says so.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database can't be trusted to keep what it is given.
    #[error("the database has {setting} = {found}, {wanted} is needed")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it has to be.
        wanted: &'static str,
    },
    /// SQLite is too old to be trusted.
    #[error("SQLite {0} has a known corruption of its write-ahead log, 3.51.3 is needed")]
    TooOld(&'static str),
    /// Something is recorded, or was to be, that no version of this program records.
    #[error("the database holds something that cannot be: {0}")]
    Nonsense(&'static str),
    /// The database isn't as it was written.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// There was no room for the batch, or no turn: nothing of it is there, nor will be.
    #[error("nothing was recorded: {0}")]
    RolledBack(#[source] rusqlite::Error),
    /// The database said no.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// The database's form could not be brought up to date.
    #[error(transparent)]
    Migration(#[from] rusqlite_migration::Error),
    /// A proof wanted it to fail.
    #[cfg(any(test, feature = "proofs"))]
    #[error("told to fail")]
    Injected {
        /// Whether the store knows that nothing is recorded.
        rolled_back: bool,
    },
}

impl StoreError {
    /// Whether it is certain that nothing of the batch is recorded, not even after a power cut, and
    /// the store is good for the next one.
    ///
    /// After any other failure the outcome is unknown until the database is opened again.
    #[must_use]
    pub fn is_rolled_back(&self) -> bool {
        match self {
            Self::RolledBack(_) => true,
            #[cfg(any(test, feature = "proofs"))]
            Self::Injected { rolled_back } => *rolled_back,
            _ => false,
        }
    }
}

/// Where the core keeps things. One that lives on disk, one in memory for the proofs.
pub trait Store {
    /// Whether others may write to it too: administrators.
    const SHARED: bool;

    /// Writes everything or nothing, and returns once it would survive a power cut. With nothing to write it is the time
    /// for what has been put off.
    ///
    /// # Errors
    /// Nothing is known to be kept. If the error [is rolled back](StoreError::is_rolled_back),
    /// nothing is kept, and the store goes on from what it had before.
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError>;

    /// Reads entries of a call behind `after`, in order, until they have about `bytes` bytes: at
    /// least one, if there is one.
    ///
    /// # Errors
    /// They can't be read.
    fn page(&mut self, call: CallId, after: Seq, bytes: usize) -> Result<Vec<Entry>, StoreError>;

    /// Gives back all that a line needs to go on.
    ///
    /// # Errors
    /// It can't be read, or makes no sense.
    fn snapshot(&mut self) -> Result<Snapshot, StoreError>;

    /// The next sign-on: larger than any that was ever recorded.
    ///
    /// # Errors
    /// It can't be read.
    fn next_operator(&mut self) -> Result<OperatorId, StoreError>;

    /// Changes whenever somebody else has written to it.
    ///
    /// # Errors
    /// It can't be read.
    fn access_version(&mut self) -> Result<i64, StoreError>;

    /// Gives back what administrators and operators have decided about who belongs.
    ///
    /// # Errors
    /// It can't be read, or makes no sense.
    fn access(&mut self) -> Result<Access, StoreError>;

    /// What is kept of the tokens of those who are signed on; of those at the console, nothing is.
    ///
    /// # Errors
    /// It can't be read, or makes no sense.
    fn credentials(&mut self) -> Result<Vec<(OperatorId, SecretHash)>, StoreError>;
}

/// Entries that are being gathered until they are enough.
struct Page {
    entries: Vec<Entry>,
    room: usize,
}

impl Page {
    fn new(bytes: usize) -> Self {
        Self { entries: Vec::new(), room: bytes }
    }

    /// Takes an entry; says whether there is room for another.
    fn take(&mut self, entry: Entry) -> bool {
        self.room = self.room.saturating_sub(weight(&entry));
        self.entries.push(entry);
        self.room > 0
    }
}

/// Bytes of an entry on the wire, about.
fn weight(entry: &Entry) -> usize {
    const WITHOUT_TEXT: usize = 128;
    match &entry.item {
        Item::Said { text, .. } => text.as_str().len().saturating_add(WITHOUT_TEXT),
        _ => WITHOUT_TEXT,
    }
}
