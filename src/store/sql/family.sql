-- A message with its followers: what decides about the next of them. Those that were replaced do not count.
SELECT m.id, m.follows IS NOT NULL, m.step, m.state, m.reason, m.due_at, m.sent_at, m.wake_at, m.attempts, m.ack
FROM messages AS m
WHERE m.id = ?1 OR (m.follows = ?1 AND m.reason IS NOT 'replaced')
ORDER BY m.follows IS NOT NULL, m.created_at
