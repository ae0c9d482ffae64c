SELECT m.id, m.job, m.chat, m.wake_at, m.lead_ms
FROM messages AS m
LEFT JOIN occurrences AS o ON o.id = m.occurrence
WHERE m.state = 'scheduled' AND m.instance = ?1 AND m.flow = ?2 AND (m.occurrence IS NULL OR o.state = 'planned')
ORDER BY m.wake_at
LIMIT ?3
