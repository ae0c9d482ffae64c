-- Typing that began in chats of messages that are as they are expected to be: not put off, not moved, not hidden.
-- The pluses keep the planner from looking for the state first, through an index of all that wait, or from reading the whole
-- table.
WITH v (id, attempts, typing_at, slot_at, due_at) AS (VALUES {5})
UPDATE messages SET
    state     = 'typing',
    reason    = NULL,
    typing_at = v.typing_at,
    slot_at   = v.slot_at
FROM v
WHERE messages.id = +v.id
  AND messages.attempts = v.attempts
  AND +messages.state = 'scheduled'
  AND messages.wake_at <= v.slot_at
  AND messages.due_at = v.due_at
  AND NOT EXISTS (SELECT 1 FROM occurrences AS o WHERE o.id = messages.occurrence AND o.state = 'planning')
