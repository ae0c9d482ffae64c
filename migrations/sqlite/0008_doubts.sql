-- Doubts as rows, evidence that comes by itself, and messages that take the program with them.

-- Every attempt whose outcome was ever unknown, and what became of that question.
CREATE TABLE doubts (
    message   BLOB    NOT NULL REFERENCES messages (id),
    number    INTEGER NOT NULL,
    instance  TEXT    NOT NULL,
    chat      TEXT    NOT NULL,
    -- Hash of what it sent: by it an echo is recognised.
    body      INTEGER,
    marked_at INTEGER NOT NULL,
    -- The message id that an unclear answer named all the same.
    named     TEXT,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    verdict   TEXT CHECK (verdict IN ('sent', 'unsent', 'resent', 'dropped')),
    -- 1 = it turned out that this attempt went out, and another one of its message too.
    duplicate INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (message, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX doubts_by_chat ON doubts (instance, chat);
CREATE INDEX doubts_by_name ON doubts (instance, named) WHERE named IS NOT NULL;

-- Messages of our accounts that gateways told of and that are of no known attempt yet.
CREATE TABLE echoes (
    instance   TEXT    NOT NULL,
    gateway_id TEXT    NOT NULL,
    -- echo = the message itself, with chat and hash of its text; ack = only its id.
    kind       TEXT    NOT NULL CHECK (kind IN ('echo', 'ack')),
    chat       TEXT,
    body       INTEGER,
    -- When it was sent, as the gateway says.
    sent_at    INTEGER NOT NULL,
    told_at    INTEGER NOT NULL,
    PRIMARY KEY (instance, gateway_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX echoes_by_age ON echoes (told_at);

INSERT INTO doubts (message, number, instance, chat, body, marked_at, opened_at)
SELECT m.id, m.attempts, m.instance, m.chat, a.body, a.marked_at, a.marked_at
FROM messages AS m JOIN attempts AS a ON a.message = m.id AND a.number = m.attempts
WHERE m.state = 'in_doubt';

-- Starts in a row that found it in the hands of a dead run.
ALTER TABLE messages ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
