-- Messages of an instance that are being typed, as a claim would hand them over, and when they leave.
SELECT m.id, m.chat,
       concat_ws(' ', m.class, m.content, m.due_at, m.wake_at, m.lead_ms, m.attempts, m.tries,
                 coalesce(m.first_marked_at, '-'), m.guard, coalesce(o.nominal_at, '-'), m.step, m.steps,
                 coalesce(m.expires_at, '-'), m.key IS NOT NULL, coalesce(o.event_at, '-'), m.flow,
                     EXISTS (SELECT 1 FROM opt_ins AS i WHERE i.chat = m.chat), '-', 0, '-'),
       m.job, r.vars, m.reason,
       coalesce(m.slot_at, m.wake_at + m.lead_ms)
FROM messages AS m
LEFT JOIN occurrences AS o ON o.id = m.occurrence
LEFT JOIN recipients AS r ON r.audience = m.audience AND r.place = m.place
WHERE m.state IN ('typing', 'sending', 'in_doubt') AND m.state = 'typing' AND m.instance = ?1
LIMIT 10000
