-- Marks of messages that are as they are expected to be. One that waits for a later wake or was moved, whose occurrence is hidden,
-- beside which anything is paused, whose recipient is suppressed, that counts for `frequency`, that follows in a sequence or follows
-- a message, that was tried before, or that reminds of an event is left alone: unwanted.sql and apply_changes.sql say what is with it.
-- The pluses keep the planner from looking for the state first, through an index of all that wait, or from reading the whole
-- table.
WITH v (id, attempts, slot, number, marked_at, typing_at, due_at) AS (VALUES {7})
UPDATE messages SET
    state           = 'sending',
    reason          = NULL,
    attempts        = v.number,
    first_marked_at = coalesce(messages.first_marked_at, v.marked_at),
    typing_at       = coalesce(v.typing_at, messages.typing_at)
FROM v
WHERE messages.id = +v.id
  AND messages.attempts = v.attempts
  AND +messages.state IN ('scheduled', 'typing')
  AND messages.wake_at <= v.slot
  AND messages.due_at = v.due_at
  AND messages.counted IS NULL
  AND messages.step <= 0
  AND messages.follows IS NULL
  AND messages.attempts = 0
  AND NOT EXISTS (SELECT 1 FROM occurrences AS o
                  WHERE o.id = messages.occurrence
                    AND (o.event_at IS NOT NULL
                         OR o.state = 'planning' AND (messages.state <> 'typing' OR o.gate_at IS NOT NULL)))
  AND NOT EXISTS (SELECT 1 FROM pauses AS p WHERE p.until IS NULL OR p.until > v.marked_at)
  AND NOT EXISTS (SELECT 1 FROM suppressions AS s WHERE s.chat = messages.chat AND s.farewell IS NOT messages.id);
INSERT INTO attempts (message, number, marked_at, slot_at, paced,
                      typing_started_at, typing_status, typing_response, typing_refreshes, typing_stopped_at, body)
SELECT * FROM (VALUES {11}) WHERE column1 IS NOT NULL
