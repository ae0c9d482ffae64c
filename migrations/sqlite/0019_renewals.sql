-- Occurrences of a changed job. They are hidden from claims until their messages are planned anew:
-- 1 = what waits of it is being replaced, 2 = to be planned anew, 0 = neither; 3 and 4 = the same where all that waits of it waits
-- for a person, past its time: then only that is planned anew, and nobody joins it.
ALTER TABLE occurrences ADD COLUMN renew INTEGER NOT NULL DEFAULT 0;
-- When its job was removed while something of it was undone: what comes back from a try is not tried again.
ALTER TABLE occurrences ADD COLUMN removed_at INTEGER;
CREATE INDEX occurrences_to_renew ON occurrences (renew, job) WHERE renew > 0;
CREATE INDEX occurrences_planning ON occurrences (job) WHERE state = 'planning';

-- What a person said of a message that was replaced. Its successor takes it over, and then it is forgotten here.
CREATE TABLE kept_words (
    occurrence INTEGER NOT NULL REFERENCES occurrences (id) ON DELETE CASCADE,
    chat       TEXT    NOT NULL,
    step       INTEGER NOT NULL,
    -- Why it is held, or has another instant.
    reason     TEXT    NOT NULL,
    -- When it is due, where a person gave it another instant.
    due_at     INTEGER,
    PRIMARY KEY (occurrence, chat, step)
) STRICT, WITHOUT ROWID;

-- What was being replaced when the program was exchanged goes on in the new manner.
UPDATE occurrences SET renew = 1
WHERE state = 'planning' AND gate_at IS NULL AND planned_at IS NOT NULL
  AND job IN (SELECT name FROM jobs) AND id NOT IN (SELECT occurrence FROM imports);
UPDATE jobs SET plan_at = next_at WHERE plan_at IS NULL AND next_at IS NOT NULL;
