-- Occurrences that were missed or overlap.

-- When its messages were made visible: before its instant, or after it as one that was made up for.
ALTER TABLE occurrences ADD COLUMN planned_at INTEGER;
-- When it is looked at whether the one before it is finished; NULL = no more.
ALTER TABLE occurrences ADD COLUMN gate_at INTEGER;
-- A missed row stands for a run of them: why, until which one, and how many.
ALTER TABLE occurrences ADD COLUMN reason TEXT;
ALTER TABLE occurrences ADD COLUMN until_at INTEGER;
ALTER TABLE occurrences ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
CREATE INDEX occurrences_at_gate ON occurrences (gate_at) WHERE gate_at IS NOT NULL;
CREATE INDEX occurrences_missed ON occurrences (job, nominal_at) WHERE state = 'missed';
