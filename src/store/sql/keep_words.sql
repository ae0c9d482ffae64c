-- What a person said of messages that are about to be replaced: that they wait for them, or another instant.
INSERT INTO kept_words (occurrence, chat, step, reason, due_at)
SELECT m.occurrence, m.chat, m.step, m.reason, iif(m.reason IN ('snoozed', 'rescheduled', 'retried'), m.due_at, NULL)
FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.id = unhex(j.value)
WHERE m.state = 'held' AND m.reason <> 'approval' OR m.reason IN ('snoozed', 'rescheduled', 'retried')
ON CONFLICT DO UPDATE SET reason = excluded.reason, due_at = excluded.due_at
