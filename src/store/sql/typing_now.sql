-- Messages of an instance that are being typed, as a claim would hand them over, and when they leave.
SELECT m.id, m.chat,
       {numbers},
       m.job, r.vars, m.reason,
       coalesce(m.slot_at, m.wake_at + m.lead_ms)
FROM messages AS m
LEFT JOIN occurrences AS o ON o.id = m.occurrence
LEFT JOIN recipients AS r ON r.audience = m.audience AND r.place = m.place
WHERE m.state IN ('typing', 'sending', 'in_doubt') AND m.state = 'typing' AND m.instance = ?1
LIMIT 10000
