-- Waiting messages of one instance and range of ranks, by wake, that this node does not hold yet.
SELECT m.id, m.chat, m.class, m.content, m.due_at, m.wake_at, m.lead_ms, m.attempts, m.tries, m.first_marked_at,
       m.guard, m.job, o.nominal_at, r.vars
FROM messages AS m
LEFT JOIN occurrences AS o ON o.id = m.occurrence
LEFT JOIN recipients AS r ON r.audience = m.audience AND r.place = m.place
WHERE m.state = 'scheduled' AND m.instance = ?1 AND m.rank = ?2 AND m.wake_at <= ?3
  AND (m.occurrence IS NULL OR o.state = 'planned')
  AND m.id NOT IN (SELECT unhex(value) FROM json_each(?4))
ORDER BY m.wake_at, m.id
LIMIT ?5
