-- Files imported beside jobs. While `done_at` is NULL the occurrence is hidden; what an interrupted import left is
-- removed by the next one. A step below zero marks the second, third … message to a chat within one import.
CREATE TABLE imports (
    occurrence INTEGER NOT NULL PRIMARY KEY REFERENCES occurrences (id),
    file       TEXT    NOT NULL,
    audience   INTEGER,
    began_at   INTEGER NOT NULL,
    done_at    INTEGER,
    imported   INTEGER,
    merged     INTEGER,
    bad        INTEGER
) STRICT;
