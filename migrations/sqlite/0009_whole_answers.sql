-- Attempts and results as tables in order of their writing. In a table without rowid a row of more than 1,002 bytes has a page
-- of its own for what is over (file format, section 1.6), and an answer of a gateway often is that long: every one cost a page
-- in the log and one in the file. In a table with rowids two or three of them share a page.

CREATE TABLE new_attempts (
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
    body              INTEGER,
    PRIMARY KEY (message, number)
) STRICT;
INSERT INTO new_attempts
SELECT message, number, marked_at, slot_at, paced, typing_started_at, typing_status, typing_response, typing_refreshes,
       typing_stopped_at, body
FROM attempts;
DROP TABLE attempts;
ALTER TABLE new_attempts RENAME TO attempts;
CREATE INDEX attempts_by_mark ON attempts (marked_at) WHERE body IS NOT NULL;

CREATE TABLE new_results (
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
) STRICT;
INSERT INTO new_results
SELECT message, number, at, started_at, finished_at, status, outcome, response, state, reason, typing_status,
       typing_response, typing_refreshes, typing_stopped_at
FROM results;
DROP TABLE results;
ALTER TABLE new_results RENAME TO results;
CREATE INDEX results_by_start ON results (started_at) WHERE started_at IS NOT NULL;
