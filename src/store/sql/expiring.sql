SELECT m.id, m.state, m.wake_at, m.attempts, m.expires_at
FROM messages AS m
WHERE m.expires_at <= ?1 AND m.expires_at IS NOT NULL AND m.state IN ('scheduled', 'typing', 'held')
ORDER BY m.expires_at
LIMIT ?2
