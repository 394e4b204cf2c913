-- The SIP messages of calls, without their secrets, in the parts in which they came. Apart from the journal: a call is
-- on record without them, and they are deleted before it is.

CREATE TABLE sip_ladders (
    call_id TEXT NOT NULL,
    part INTEGER NOT NULL,
    account_id TEXT NOT NULL,
    unix_ms BIGINT NOT NULL,
    not_kept BIGINT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (call_id, part)
);

-- What is too old.
CREATE INDEX sip_ladders_by_age ON sip_ladders (unix_ms);
