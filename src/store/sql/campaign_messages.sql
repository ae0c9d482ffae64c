-- The messages of an occurrence by chat, after one of them; with what follows others, or without.
SELECT m.id, m.job, o.nominal_at, m.instance, m.chat, m.class, c.kind, m.state, m.reason, m.due_at, m.wake_at,
       m.attempts, m.gateway_id, m.typing_at, m.sent_at, m.ack, m.ack_at, m.created_at, m.lead_ms, o.recipients,
       r.vars, m.step, m.content, m.after_ms, m.steps
FROM messages AS m
JOIN occurrences AS o ON o.id = m.occurrence
JOIN contents AS c ON c.id = m.content
LEFT JOIN recipients AS r ON r.audience = m.audience AND r.place = m.place
WHERE m.occurrence = ?1 AND m.reason IS NOT 'replaced' AND (m.follows IS NULL OR ?6)
  AND (m.chat, m.step) > (?2, ?3)
  AND (?4 = '[]' OR m.state IN (SELECT value FROM json_each(?4)))
ORDER BY m.chat, m.step
LIMIT ?5
