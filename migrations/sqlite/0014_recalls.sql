-- Messages that a person wants deleted for everyone, and how far that is.

CREATE TABLE recalls (
    message    BLOB    NOT NULL PRIMARY KEY REFERENCES messages (id),
    instance   TEXT    NOT NULL,
    asked_at   INTEGER NOT NULL,
    -- Attempts the message had then: what is sent by a later one was wanted by a person again.
    attempts   INTEGER NOT NULL,
    -- When it was sent, once that is known; until then there is nothing to delete.
    sent_at    INTEGER,
    state      TEXT    NOT NULL CHECK (state IN ('open', 'done', 'failed', 'too_late', 'unsent')),
    reason     TEXT,
    -- Requests that may have been carried out, counted before they leave.
    tries      INTEGER NOT NULL DEFAULT 0,
    next_at    INTEGER NOT NULL,
    settled_at INTEGER,
    status     INTEGER,
    response   TEXT
) STRICT;
-- What is to be deleted, the newest found first.
CREATE INDEX recalls_open ON recalls (instance, sent_at) WHERE state = 'open' AND sent_at IS NOT NULL;
-- What is not known to have been sent: a handful of rows.
CREATE INDEX recalls_of_unsent ON recalls (message) WHERE sent_at IS NULL AND state IN ('open', 'unsent');
