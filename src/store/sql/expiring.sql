SELECT m.id, m.state, m.wake_at, m.attempts, m.expires_at,
       coalesce(o.event_begins, o.event_at), m.due_at
FROM messages AS m
LEFT JOIN occurrences AS o ON o.id = m.occurrence
WHERE m.expires_at <= ?1 AND m.expires_at IS NOT NULL AND m.state IN ('scheduled', 'typing', 'held')
ORDER BY m.expires_at
LIMIT ?2
