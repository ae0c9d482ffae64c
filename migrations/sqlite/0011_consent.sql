-- Who is not to be written to, and what was said about it.
CREATE TABLE suppressions (
    chat   TEXT    NOT NULL PRIMARY KEY,
    since  INTEGER NOT NULL,
    -- person = by command, keyword = the recipient wrote it.
    source TEXT    NOT NULL CHECK (source IN ('person', 'keyword')),
    note   TEXT
) STRICT, WITHOUT ROWID;

-- Never changed: each opt-out and opt-in, with who said it.
CREATE TABLE consents (
    id      INTEGER PRIMARY KEY,
    chat    TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    verdict TEXT    NOT NULL CHECK (verdict IN ('out', 'in')),
    source  TEXT    NOT NULL CHECK (source IN ('person', 'keyword')),
    note    TEXT
) STRICT;
CREATE INDEX consents_by_chat ON consents (chat);
