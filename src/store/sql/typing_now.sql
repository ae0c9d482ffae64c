-- Messages of an instance that are being typed, as a claim would hand them over, and when they leave.
SELECT m.id, m.chat, m.class, m.content, m.due_at, m.wake_at, m.lead_ms, m.attempts, m.tries, m.first_marked_at,
       m.guard, m.job, o.nominal_at, r.vars, m.step, m.steps, m.expires_at, m.reason, m.key IS NOT NULL,
       o.event_at,
       coalesce(m.slot_at, m.wake_at + m.lead_ms)
FROM messages AS m
LEFT JOIN occurrences AS o ON o.id = m.occurrence
LEFT JOIN recipients AS r ON r.audience = m.audience AND r.place = m.place
WHERE m.state IN ('typing', 'sending', 'in_doubt') AND m.state = 'typing' AND m.instance = ?1
LIMIT 10000
