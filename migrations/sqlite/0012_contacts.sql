-- Contacts: what is known of somebody, and in which lists they are.
CREATE TABLE contacts (
    chat       TEXT    NOT NULL PRIMARY KEY,
    -- Attributes by name, as the variables of a recipient.
    vars       TEXT CHECK (vars IS NULL OR json_valid(vars)),
    added_at   INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE lists (
    id       INTEGER PRIMARY KEY,
    name     TEXT    NOT NULL UNIQUE,
    -- Raised with every change of its members or of what is known of them.
    revision INTEGER NOT NULL DEFAULT 0,
    made_at  INTEGER NOT NULL
) STRICT;

-- What brought members into a list. Until it is done, none of them counts.
CREATE TABLE joinings (
    id       INTEGER PRIMARY KEY,
    list     INTEGER NOT NULL REFERENCES lists (id),
    file     TEXT,
    began_at INTEGER NOT NULL,
    done_at  INTEGER
) STRICT;
CREATE INDEX joinings_open ON joinings (id) WHERE done_at IS NULL;

CREATE TABLE members (
    list    INTEGER NOT NULL REFERENCES lists (id),
    chat    TEXT    NOT NULL,
    joining INTEGER NOT NULL REFERENCES joinings (id),
    PRIMARY KEY (list, chat)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_chat ON members (chat);

-- Consent may come with an import, too; who gave it is found as fast as who took it back.
CREATE TABLE new_consents (
    id      INTEGER PRIMARY KEY,
    chat    TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    verdict TEXT    NOT NULL CHECK (verdict IN ('out', 'in')),
    source  TEXT    NOT NULL CHECK (source IN ('person', 'keyword', 'import')),
    note    TEXT
) STRICT;
INSERT INTO new_consents SELECT id, chat, at, verdict, source, note FROM consents;
DROP TABLE consents;
ALTER TABLE new_consents RENAME TO consents;
CREATE INDEX consents_by_chat ON consents (chat);

CREATE TABLE opt_ins (
    chat   TEXT    NOT NULL PRIMARY KEY,
    since  INTEGER NOT NULL,
    source TEXT    NOT NULL CHECK (source IN ('keyword', 'import'))
) STRICT, WITHOUT ROWID;
INSERT INTO opt_ins (chat, since, source)
SELECT chat, max(at), 'keyword' FROM consents
WHERE verdict = 'in' AND source = 'keyword' AND chat NOT IN (SELECT chat FROM suppressions) GROUP BY chat;
