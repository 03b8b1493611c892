-- A database of the first form, as the first servers made it, with three calls: one that is over, one
-- that is talked on, one that waits.
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
PRAGMA user_version = 1;
PRAGMA journal_mode = wal;

INSERT INTO sign_on VALUES (1, zeroblob(32), 'Ada', 1000, 2000), (2, zeroblob(32), 'Bo', 1500, NULL);
INSERT INTO call VALUES
    (1, x'01000000000000000000000000000000', 'main', zeroblob(32), 'Cy', 1100, 2, 1, 1110, 1900, 1, 4),
    (2, x'02000000000000000000000000000000', 'main', zeroblob(32), 'Di', 1200, 1, 2, 1600, NULL, 2, NULL),
    (3, x'03000000000000000000000000000000', 'main', zeroblob(32), 'Ed', 1300, 0, NULL, NULL, NULL, 5, NULL);
INSERT INTO entry VALUES
    (1, 1, 1, 1110, 2, 2, 'Ada', NULL, NULL, NULL),
    (2, 2, 1, 1210, 1, 1, 'Di', 1, 'anybody there?', NULL),
    (3, 2, 2, 1600, 2, 2, 'Bo', NULL, NULL, NULL),
    (4, 1, 2, 1900, 4, 3, NULL, NULL, NULL, 4),
    (5, 2, 3, 1910, 1, 2, 'Bo', 1, 'yes', NULL);
