//! What is kept: one database, written by the core alone.
//!
//! Only the files below `store/` name the database.

use helpline_proto::ids::{CallId, Seq};
use helpline_switchboard::{Entry, Item, OperatorId, QueueNumber, Record};

pub use self::sqlite::{FILE as DATABASE, SqliteStore};

#[cfg(test)]
pub(crate) mod memory;
pub mod reading;
mod rows;
mod schema;
mod sqlite;

/// One thing to write.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// An entry of a call's transcript.
    Entry(CallId, Entry),
    /// Anything else the switchboard wants kept.
    Record(Record),
    /// This many more callers heard *busy*.
    Refused(u32),
}

/// Where counting goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// The next call's place in the order of arrival.
    pub number: QueueNumber,
    /// The next sign-on.
    pub operator: OperatorId,
}

/// The store failed. What it was asked to write may or may not be there.
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
    /// Something is recorded that no version of this program writes.
    #[error("the database holds something that cannot be: {0}")]
    Nonsense(&'static str),
    /// The database said no.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// The database's form could not be brought up to date.
    #[error(transparent)]
    Migration(#[from] rusqlite_migration::Error),
}

/// Where the core keeps things. One that lives on disk, one in memory for tests of the core.
pub trait Store {
    /// Writes everything or nothing, and returns once it would survive a power cut.
    ///
    /// # Errors
    /// Nothing is known to be kept.
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError>;

    /// Reads entries of a call behind `after`, in order, until they have about `bytes` bytes.
    ///
    /// # Errors
    /// They can't be read.
    fn page(&mut self, call: CallId, after: Seq, bytes: usize) -> Result<Vec<Entry>, StoreError>;
}

/// Bytes of an entry on the wire, about.
fn weight(entry: &Entry) -> usize {
    const WITHOUT_TEXT: usize = 128;
    match &entry.item {
        Item::Said { text, .. } => text.as_str().len() + WITHOUT_TEXT,
        _ => WITHOUT_TEXT,
    }
}
