//! The form of the database, and how an older one becomes it.

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

use super::StoreError;

mod fourth;

/// Entries are only ever appended, and no index is kept on them: a commit touches the end of one
/// table, however many calls it serves. A call knows its first and last row.
pub(super) const FIRST: &str = "
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

/// Everything that has to be known for a line to go on after its server was killed.
///
/// In the first form nobody could come back, so whoever it had left open is cut off: that is how its
/// own servers ended such calls at their next start. No server of this form cuts anybody off.
pub(super) const SECOND: &str = "
ALTER TABLE call ADD COLUMN connected_at INTEGER;       -- when the last sign-on answered
ALTER TABLE call ADD COLUMN caller_unseen INTEGER NOT NULL DEFAULT 0;   -- 1 while the end is to be
ALTER TABLE call ADD COLUMN operator_unseen INTEGER NOT NULL DEFAULT 0; -- seen by that side
ALTER TABLE sign_on ADD COLUMN answering INTEGER;       -- 1 by hand, 2 by itself
ALTER TABLE sign_on ADD COLUMN presence INTEGER;        -- 1 available, 2 break
-- why an entry ended its call: 3 lost and 4 stopping are of the first form only, 5 is timed out

CREATE TABLE start (
    number INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL
) STRICT;

INSERT INTO entry (call, seq, at, kind, side, why)
SELECT number,
       1 + coalesce((SELECT seq FROM entry WHERE row >= first_row AND call = number
                     ORDER BY row DESC LIMIT 1), 0),
       CAST(unixepoch('subsec') * 1000 AS INTEGER), 4, 3, 3
FROM call WHERE state <> 2 ORDER BY number;
UPDATE call SET state = 2, (closed_at, last_row) =
    (SELECT at, row FROM entry WHERE call = number ORDER BY row DESC LIMIT 1)
WHERE state <> 2;
UPDATE sign_on SET until = CAST(unixepoch('subsec') * 1000 AS INTEGER) WHERE until IS NULL;

DROP INDEX open_call;
CREATE INDEX live_call ON call (number) WHERE (state <> 2 OR caller_unseen OR operator_unseen);
CREATE INDEX signed_on ON sign_on (number) WHERE until IS NULL;
";

/// Who belongs, and who has done what.
///
/// Operators of before had no accounts, so none of those who are signed on has a token that counts.
pub(super) const THIRD: &str = "
-- why an entry ended its call: 6 is banned

ALTER TABLE sign_on ADD COLUMN token BLOB;  -- SHA-256 of the token it came with; none at the console
UPDATE sign_on SET token = zeroblob(32) WHERE until IS NULL;

CREATE TABLE account (
    name        TEXT PRIMARY KEY,
    role        INTEGER NOT NULL,           -- 1 operator, 2 supervisor
    token       BLOB NOT NULL,              -- SHA-256 of the token
    made_at     INTEGER NOT NULL,
    disabled_at INTEGER
) STRICT;

CREATE TABLE invitation (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    code    BLOB NOT NULL UNIQUE,           -- SHA-256 of the code
    uses    INTEGER NOT NULL,               -- 1 once, 2 many
    until   INTEGER,
    made_by TEXT NOT NULL,
    made_at INTEGER NOT NULL
) STRICT;                                   -- one that is used up is deleted

CREATE TABLE ban (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    network TEXT NOT NULL,                  -- an address, or address/bits
    until   INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    made_by TEXT NOT NULL,
    made_at INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    who    TEXT NOT NULL,
    seat   INTEGER NOT NULL,                -- 1 desk, 2 console, 3 command
    did    INTEGER NOT NULL,
    about  TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_is_final BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is only added to'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is only added to'); END;
";

/// Brings the database to the present form.
pub(super) fn migrate(database: &mut Connection) -> Result<(), StoreError> {
    let fourth = M::up_with_hook(fourth::FOURTH, fourth::convert);
    let forms = vec![M::up(FIRST), M::up(SECOND), M::up(THIRD), fourth];
    Ok(Migrations::new(forms).to_latest(database)?)
}
