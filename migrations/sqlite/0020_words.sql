-- A word about being written to knows its message and its own instant: told again it is nothing, told late it does not count.
ALTER TABLE consents ADD COLUMN instance TEXT;
ALTER TABLE consents ADD COLUMN gateway_id TEXT;
-- When it was said; NULL where nobody knows, which is earlier than everything that is known.
ALTER TABLE consents ADD COLUMN said_at INTEGER;
-- Whether an opt-in also lifts what a person suppressed.
ALTER TABLE consents ADD COLUMN lifts_manual INTEGER NOT NULL DEFAULT 0 CHECK (lifts_manual IN (0, 1));
-- changed = how the chat stands; again = it said what stood already; overruled = another word is later, or counts for more.
ALTER TABLE consents ADD COLUMN effect TEXT NOT NULL DEFAULT 'changed' CHECK (effect IN ('changed', 'again', 'overruled'));
-- So far words counted in the order in which they were told, and an opt-in lifted everything.
UPDATE consents SET said_at = at, lifts_manual = iif(source = 'keyword' AND verdict = 'in', 1, 0);
-- How a chat stands is told by its words from now on: every opt-out in force is one.
INSERT INTO consents (chat, at, said_at, verdict, source, note)
SELECT chat, since, since, 'out', source, note FROM suppressions
WHERE chat NOT IN (SELECT chat FROM consents WHERE verdict = 'out');
CREATE UNIQUE INDEX consents_by_message ON consents (chat, instance, gateway_id) WHERE gateway_id IS NOT NULL;
