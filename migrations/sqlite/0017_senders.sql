-- Who was written to through which account by a job that goes through several: they stay with it.
CREATE TABLE senders (
    chat     TEXT NOT NULL PRIMARY KEY,
    instance TEXT NOT NULL
) STRICT, WITHOUT ROWID;
