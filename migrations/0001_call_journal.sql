-- The journal of calls. Identifiers are text, times are milliseconds since the Unix epoch, events are JSON, so that the
-- same statements serve SQLite and PostgreSQL.

CREATE TABLE calls (
    call_id TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL,
    opened_unix_ms BIGINT NOT NULL,
    closed_unix_ms BIGINT
);

-- Call ids sort by time, so this index lists an account's calls, latest first.
CREATE INDEX calls_of_account ON calls (account_id, call_id);

-- What a start after a crash looks for.
CREATE INDEX calls_open ON calls (call_id) WHERE closed_unix_ms IS NULL;

CREATE TABLE events (
    call_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    account_id TEXT NOT NULL,
    unix_ms BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (call_id, sequence)
);
