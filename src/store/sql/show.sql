SELECT m.id, m.job, o.nominal_at, m.instance, m.chat, m.class, c.kind, m.state, m.reason, m.due_at, m.wake_at,
       m.attempts, m.gateway_id, m.typing_at, m.sent_at, m.ack, m.ack_at, m.created_at, m.lead_ms, o.recipients,
       c.body, r.vars, i.state, i.reason, i.until
FROM messages AS m
JOIN contents AS c ON c.id = m.content
LEFT JOIN occurrences AS o ON o.id = m.occurrence
LEFT JOIN recipients AS r ON r.audience = m.audience AND r.place = m.place
LEFT JOIN instances AS i ON i.name = m.instance
WHERE m.id = ?1
