-- Sequences, expiry, pauses, and the hash by which a repeated content is noticed.

-- The place of a message in the sequence its recipient gets, and how long that sequence is.
ALTER TABLE messages ADD COLUMN step INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN steps INTEGER NOT NULL DEFAULT 1;
-- After this instant it must not leave any more.
ALTER TABLE messages ADD COLUMN expires_at INTEGER;

-- One message a recipient, occurrence and step, ever; a replaced one makes room for its successor.
DROP INDEX messages_once;
CREATE UNIQUE INDEX messages_once ON messages (occurrence, chat, step)
    WHERE occurrence IS NOT NULL AND reason IS NOT 'replaced';
-- Only what may still leave can expire.
CREATE INDEX messages_expiring ON messages (expires_at)
    WHERE expires_at IS NOT NULL AND state IN ('scheduled', 'typing', 'held');

-- The contents of a job's sequence after the first: a JSON list of rows of `contents`.
ALTER TABLE jobs ADD COLUMN then_contents TEXT;

-- Hash of what an attempt sends.
ALTER TABLE attempts ADD COLUMN body INTEGER;
CREATE INDEX attempts_by_mark ON attempts (marked_at) WHERE body IS NOT NULL;

-- What a person stopped: everything, an instance, a job. It ends by itself at `until`, if that is given.
CREATE TABLE pauses (
    scope TEXT    NOT NULL CHECK (scope IN ('all', 'instance', 'job')),
    name  TEXT    NOT NULL DEFAULT '',
    note  TEXT,
    since INTEGER NOT NULL,
    until INTEGER,
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;
