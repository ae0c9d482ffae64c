SELECT m.id, m.job, o.nominal_at, m.instance, m.chat, m.class, c.kind, m.state, m.reason, m.due_at, m.wake_at,
       m.attempts, m.gateway_id, m.typing_at, m.sent_at, m.ack, m.ack_at, m.created_at, m.lead_ms, o.recipients
FROM messages AS m
JOIN contents AS c ON c.id = m.content
LEFT JOIN occurrences AS o ON o.id = m.occurrence
WHERE m.state IN ('typing', 'sending', 'in_doubt') AND m.state = 'in_doubt' AND (?1 IS NULL OR m.id < ?1)
ORDER BY m.id DESC
LIMIT ?2
