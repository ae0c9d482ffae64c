-- Who was written to through which accounts by jobs that go through several, and when last: they stay with one of them.
CREATE TABLE senders (
    chat     TEXT    NOT NULL,
    instance TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (chat, instance)
) STRICT, WITHOUT ROWID;
