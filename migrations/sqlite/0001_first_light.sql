-- Everything a message needs from its declaration to its last ack.
--
-- Instants are INTEGER milliseconds UTC, written by the program: no time default and no now() in SQL, so that a test
-- owns the clock. Ids of messages are 16-byte UUIDs (version 7). States and reasons are the words of the domain.

-- What the database knows of itself: seed, mode (sandbox | real), alive_at, created_at, defaults.
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Logged-in accounts. `definition` holds settings and references to secrets, never a secret.
CREATE TABLE instances (
    name       TEXT    NOT NULL PRIMARY KEY,
    gateway    TEXT    NOT NULL,
    definition TEXT    NOT NULL CHECK (json_valid(definition)),
    state      TEXT    NOT NULL DEFAULT 'working' CHECK (state IN ('working', 'resting', 'down')),
    reason     TEXT,
    until      INTEGER,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Stretches in which nothing could be sent: by one instance, or (NULL) because no daemon ran.
CREATE TABLE outages (
    id       INTEGER PRIMARY KEY,
    instance TEXT,
    began_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL
) STRICT;
CREATE INDEX outages_by_end ON outages (ended_at);

-- A content with its manner of sending: stored once however many recipients it has.
CREATE TABLE contents (
    id          INTEGER PRIMARY KEY,
    fingerprint BLOB NOT NULL UNIQUE,
    kind        TEXT NOT NULL,
    body        TEXT NOT NULL CHECK (json_valid(body)),
    manner      TEXT NOT NULL CHECK (json_valid(manner)),
    zone        TEXT NOT NULL,
    max_lateness_ms INTEGER NOT NULL
) STRICT;

-- A list of recipients, stored once however many occurrences use it. Found by the hash of its rows.
CREATE TABLE audiences (
    id          INTEGER PRIMARY KEY,
    fingerprint BLOB    NOT NULL UNIQUE,
    size        INTEGER NOT NULL,
    complete    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE recipients (
    audience INTEGER NOT NULL REFERENCES audiences (id) ON DELETE CASCADE,
    place    INTEGER NOT NULL,
    chat     TEXT    NOT NULL,
    vars     TEXT,
    PRIMARY KEY (audience, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
    name             TEXT    NOT NULL PRIMARY KEY,
    definition       TEXT    NOT NULL CHECK (json_valid(definition)),
    fingerprint      BLOB    NOT NULL,
    content          INTEGER NOT NULL REFERENCES contents (id),
    audience         INTEGER NOT NULL REFERENCES audiences (id),
    vanished         INTEGER NOT NULL DEFAULT 0,
    first_applied_at INTEGER NOT NULL,
    applied_at       INTEGER NOT NULL,
    -- The next occurrence that is not planned yet; advanced by compare-and-set.
    next_at          INTEGER,
    -- When the planner must look at this job; NULL when nothing is left to plan.
    plan_at          INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_to_plan ON jobs (plan_at) WHERE plan_at IS NOT NULL;

-- One moment at which a job fired or will fire. While it is `planning`, no claim sees its messages.
CREATE TABLE occurrences (
    id         INTEGER PRIMARY KEY,
    job        TEXT    NOT NULL,
    nominal_at INTEGER NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('planning', 'planned', 'missed')),
    UNIQUE (job, nominal_at)
) STRICT;

-- The queue: one row a recipient. Small, and it hardly grows: answers and acks stand in tables of their own.
CREATE TABLE messages (
    id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    job             TEXT,
    occurrence      INTEGER REFERENCES occurrences (id),
    instance        TEXT    NOT NULL,
    chat            TEXT    NOT NULL,
    class           INTEGER NOT NULL,
    rank            INTEGER NOT NULL,
    content         INTEGER NOT NULL REFERENCES contents (id),
    audience        INTEGER,
    place           INTEGER,
    -- Hash of recipient, content and variables, taken at planning and checked before the send.
    guard           INTEGER NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('scheduled', 'claimed', 'typing', 'sending', 'sent', 'in_doubt',
                                                      'held', 'failed', 'cancelled', 'expired', 'skipped')),
    reason          TEXT,
    due_at          INTEGER NOT NULL,
    wake_at         INTEGER NOT NULL,
    lead_ms         INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    tries           INTEGER NOT NULL DEFAULT 0,
    first_marked_at INTEGER,
    typing_at       INTEGER,
    sent_at         INTEGER,
    gateway_id      TEXT,
    ack             INTEGER,
    ack_at          INTEGER,
    key             TEXT,
    created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- The hot index: only what waits stands in it, so a backlog of settled rows costs nothing.
CREATE INDEX messages_waiting ON messages (instance, rank, wake_at) WHERE state = 'scheduled';
-- What a start must recover and `doubt list` shows: a handful of rows.
CREATE INDEX messages_open ON messages (state, wake_at) WHERE state IN ('typing', 'sending', 'in_doubt');
-- One message a recipient and occurrence, ever; a replaced one makes room for its successor.
CREATE UNIQUE INDEX messages_once ON messages (occurrence, chat)
    WHERE occurrence IS NOT NULL AND reason IS NOT 'replaced';
CREATE UNIQUE INDEX messages_by_key ON messages (key) WHERE key IS NOT NULL;
CREATE INDEX messages_by_gateway_id ON messages (instance, gateway_id) WHERE gateway_id IS NOT NULL;

-- Written with the mark, before the request leaves; never changed.
CREATE TABLE attempts (
    message           BLOB    NOT NULL REFERENCES messages (id),
    number            INTEGER NOT NULL,
    marked_at         INTEGER NOT NULL,
    slot_at           INTEGER NOT NULL,
    paced             INTEGER NOT NULL,
    typing_started_at INTEGER,
    typing_status     INTEGER,
    typing_response   TEXT,
    typing_refreshes  INTEGER,
    typing_stopped_at INTEGER,
    PRIMARY KEY (message, number)
) STRICT, WITHOUT ROWID;

-- How an attempt ended: append-only, because a row that grows in place is what is slow. No row: unknown.
CREATE TABLE results (
    message           BLOB    NOT NULL REFERENCES messages (id),
    number            INTEGER NOT NULL,
    at                INTEGER NOT NULL,
    started_at        INTEGER,
    finished_at       INTEGER,
    status            INTEGER,
    outcome           TEXT    NOT NULL,
    response          TEXT,
    state             TEXT    NOT NULL,
    reason            TEXT,
    typing_status     INTEGER,
    typing_response   TEXT,
    typing_refreshes  INTEGER,
    typing_stopped_at INTEGER,
    PRIMARY KEY (message, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX results_by_start ON results (started_at) WHERE started_at IS NOT NULL;

CREATE TABLE acks (
    message     BLOB    NOT NULL REFERENCES messages (id),
    participant TEXT    NOT NULL DEFAULT '',
    level       INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    source      TEXT    NOT NULL,
    PRIMARY KEY (message, participant, level)
) STRICT, WITHOUT ROWID;

-- Acks whose message id is not known yet: an ack may come before the answer to the send.
CREATE TABLE orphan_acks (
    instance    TEXT    NOT NULL,
    gateway_id  TEXT    NOT NULL,
    participant TEXT    NOT NULL DEFAULT '',
    level       INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    source      TEXT    NOT NULL,
    PRIMARY KEY (instance, gateway_id, participant, level)
) STRICT, WITHOUT ROWID;
CREATE INDEX orphan_acks_by_age ON orphan_acks (at);

-- What attempts and acks do not tell: cancels, recoveries, verdicts.
CREATE TABLE events (
    id         INTEGER PRIMARY KEY,
    message    BLOB    NOT NULL REFERENCES messages (id),
    at         INTEGER NOT NULL,
    from_state TEXT    NOT NULL,
    to_state   TEXT    NOT NULL,
    note       TEXT
) STRICT;
CREATE INDEX events_by_message ON events (message);

-- What was found out about a doubt.
CREATE TABLE evidence (
    id      INTEGER PRIMARY KEY,
    message BLOB    NOT NULL REFERENCES messages (id),
    number  INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    verdict TEXT    NOT NULL,
    note    TEXT
) STRICT;
CREATE INDEX evidence_by_message ON evidence (message);

-- Webhooks that were rightly signed but not understood: counted, by what they called themselves.
CREATE TABLE ignored_hooks (
    instance TEXT    NOT NULL,
    event    TEXT    NOT NULL,
    count    INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    PRIMARY KEY (instance, event)
) STRICT, WITHOUT ROWID;
