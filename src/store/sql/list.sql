-- Newest first. A cursor continues below the last id shown.
SELECT m.id, m.job, o.nominal_at, m.instance, m.chat, m.class, c.kind, m.state, m.reason, m.due_at, m.wake_at,
       m.attempts, m.gateway_id, m.typing_at, m.sent_at, m.ack, m.ack_at, m.created_at, m.lead_ms, o.recipients
FROM messages AS m
JOIN contents AS c ON c.id = m.content
LEFT JOIN occurrences AS o ON o.id = m.occurrence
WHERE (?1 IS NULL OR m.id < ?1)
  AND (?2 = '[]' OR m.state IN (SELECT value FROM json_each(?2)))
  AND (?3 IS NULL OR m.job = ?3)
  AND (?4 IS NULL OR m.instance = ?4)
  AND (?5 IS NULL OR m.chat = ?5)
  AND (?6 IS NULL OR m.ack = ?6)
  AND (?7 IS NULL OR m.due_at >= ?7)
  AND (?8 IS NULL OR m.due_at < ?8)
ORDER BY m.id DESC
LIMIT ?9
