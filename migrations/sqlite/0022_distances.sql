-- How long after the one before it in its sequence a message leaves at the earliest, as its job declares it; NULL where it follows at
-- once. What waits knows it from when both were due.
ALTER TABLE messages ADD COLUMN after_ms INTEGER CHECK (after_ms > 0);
UPDATE messages AS m SET after_ms = (
    SELECT nullif(max(m.due_at - p.due_at, 0), 0) FROM messages AS p
    WHERE p.occurrence = m.occurrence AND p.chat = m.chat AND p.step = m.step - 1 AND p.reason IS NOT 'replaced')
WHERE m.state IN ('scheduled', 'typing', 'held', 'skipped') AND m.step > 0 AND m.reason IS NOT 'replaced';
-- A draft expires by an instant alone; a length counts from its approval.
UPDATE messages SET expires_at = (SELECT e.event_at FROM occurrences AS e
                                  WHERE e.id = messages.occurrence AND messages.due_at < e.event_at)
WHERE state = 'held' AND reason = 'approval'
  AND (SELECT c.manner ->> '$.expires.after' FROM contents AS c WHERE c.id = messages.content) IS NOT NULL;
-- What is followed and whose fate is in doubt is looked at too.
DROP INDEX messages_to_follow;
CREATE INDEX messages_to_follow ON messages (follow_at)
    WHERE follow_at IS NOT NULL AND state IN ('sent', 'failed', 'expired', 'in_doubt');
