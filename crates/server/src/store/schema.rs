//! The form of the database, and how an older one becomes it.

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

use super::StoreError;

/// Entries are only ever appended, and no index is kept on them: a commit touches the end of one
/// table, however many calls it serves. A call knows its first and last row.
const FIRST: &str = "
CREATE TABLE call (
    number      INTEGER PRIMARY KEY,     -- its place in the order of arrival
    id          BLOB NOT NULL UNIQUE,    -- 16 random bytes
    line        TEXT NOT NULL,
    ticket      BLOB NOT NULL,           -- SHA-256 of the caller's ticket
    name        TEXT NOT NULL,
    opened_at   INTEGER NOT NULL,        -- Unix milliseconds, here and below
    state       INTEGER NOT NULL,        -- 0 waiting, 1 connected, 2 ended
    operator    INTEGER,                 -- the last sign-on that answered
    answered_at INTEGER,
    closed_at   INTEGER,
    first_row   INTEGER NOT NULL,
    last_row    INTEGER
) STRICT;

CREATE TABLE entry (
    row   INTEGER PRIMARY KEY,
    call  INTEGER NOT NULL,              -- call.number
    seq   INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    kind  INTEGER NOT NULL,              -- 1 said, 2 joined, 3 left, 4 ended
    side  INTEGER NOT NULL,              -- 1 caller, 2 operator, 3 server
    name  TEXT,
    nonce INTEGER,
    text  TEXT,
    why   INTEGER                        -- 1 bye, 2 abandoned, 3 lost, 4 stopping
) STRICT;

CREATE TABLE sign_on (
    number INTEGER PRIMARY KEY,
    ticket BLOB NOT NULL,
    name   TEXT NOT NULL,
    since  INTEGER NOT NULL,
    until  INTEGER
) STRICT;

CREATE TABLE count (
    line    TEXT PRIMARY KEY,
    refused INTEGER NOT NULL             -- callers who heard busy
) STRICT;

CREATE INDEX open_call ON call (number) WHERE state <> 2;
";

/// Brings the database to the present form.
pub(super) fn migrate(database: &mut Connection) -> Result<(), StoreError> {
    Ok(Migrations::new(vec![M::up(FIRST)]).to_latest(database)?)
}
