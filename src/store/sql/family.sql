-- A message with its followers: what decides about the next of them. Those that were replaced do not count. Last whether it went to the
-- recipient, whether whom it went to wrote since it left, to whom, and what one says that waits.
SELECT m.id, m.follows IS NOT NULL, m.step, m.state, m.reason, m.due_at, m.sent_at, m.wake_at, m.attempts, m.ack,
       m.chat = f.chat,
       EXISTS (SELECT 1 FROM replies AS r WHERE r.chat = m.chat AND r.at >= coalesce(m.sent_at, m.due_at)),
       m.chat,
       (SELECT c.body FROM contents AS c WHERE c.id = m.content AND m.state IN ('scheduled', 'held', 'typing'))
FROM messages AS f
JOIN messages AS m ON m.id = f.id OR (m.follows = f.id AND m.reason IS NOT 'replaced')
WHERE f.id = ?1
ORDER BY m.follows IS NOT NULL, m.created_at
