-- Campaigns: the messages of one occurrence, followed as one.

-- How many recipients an occurrence has, known once it was planned. One alone is no campaign.
ALTER TABLE occurrences ADD COLUMN recipients INTEGER;
-- When a person called off what had not left.
ALTER TABLE occurrences ADD COLUMN cancelled_at INTEGER;
CREATE INDEX occurrences_of_many ON occurrences (nominal_at) WHERE recipients > 1;

UPDATE occurrences SET recipients = (SELECT imported FROM imports WHERE occurrence = occurrences.id)
WHERE state = 'planned' AND id IN (SELECT occurrence FROM imports);
UPDATE occurrences SET recipients = (
    SELECT a.size FROM jobs AS j JOIN audiences AS a ON a.id = j.audience WHERE j.name = occurrences.job)
WHERE state = 'planned' AND recipients IS NULL;

-- One occurrence of a job can be paused, too: its name is the job's, an @ and the nominal instant in milliseconds.
CREATE TABLE new_pauses (
    scope TEXT    NOT NULL CHECK (scope IN ('all', 'instance', 'job', 'campaign')),
    name  TEXT    NOT NULL DEFAULT '',
    note  TEXT,
    since INTEGER NOT NULL,
    until INTEGER,
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;
INSERT INTO new_pauses SELECT scope, name, note, since, until FROM pauses;
DROP TABLE pauses;
ALTER TABLE new_pauses RENAME TO pauses;
