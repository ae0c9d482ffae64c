-- Typing that began in chats of messages that are as they are expected to be.
-- The pluses keep the planner from looking for the state first, through an index of all that wait, or from reading the whole
-- table.
WITH v (id, attempts, typing_at, slot_at) AS (VALUES {4})
UPDATE messages SET
    state     = 'typing',
    reason    = NULL,
    typing_at = v.typing_at,
    slot_at   = v.slot_at
FROM v
WHERE messages.id = +v.id
  AND messages.attempts = v.attempts
  AND +messages.state = 'scheduled'
