-- The daemon's chores, and the days in figures.

-- When each runs, what it does, and how its last run went.
CREATE TABLE chores (
    name        TEXT    NOT NULL PRIMARY KEY,
    -- Five fields, read in `zone`; NULL = switched off, or not asked for.
    cron        TEXT,
    zone        TEXT    NOT NULL,
    -- What it does, with what it needs to know.
    task        TEXT    CHECK (task IS NULL OR json_valid(task)),
    next_at     INTEGER,
    -- The last run. Without an end it goes on, or its process ended before it did.
    started_at  INTEGER,
    finished_at INTEGER,
    took_ms     INTEGER,
    ok          INTEGER,
    result      TEXT
) STRICT, WITHOUT ROWID;

-- What became of the messages that were due on a day of `zone`: kept when they themselves are forgotten.
CREATE TABLE days (
    day         TEXT    NOT NULL,
    zone        TEXT    NOT NULL,
    messages    INTEGER NOT NULL,
    states      TEXT    NOT NULL CHECK (json_valid(states)),
    acks        TEXT    NOT NULL CHECK (json_valid(acks)),
    -- Of first attempts that no pacing held back.
    late_p50_ms INTEGER,
    late_p99_ms INTEGER,
    late_max_ms INTEGER,
    counted_at  INTEGER NOT NULL,
    PRIMARY KEY (day, zone)
) STRICT, WITHOUT ROWID;
