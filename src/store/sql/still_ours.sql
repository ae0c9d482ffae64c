-- Of these, the ones that may still be sent by whoever holds them. One that was given a later wake is claimed again. What is
-- being typed goes out although a change of its job hides its occurrence; not where it has come to a gate.
SELECT m.id, m.instance, m.job, o.nominal_at, m.state, m.attempts, m.wake_at,
       {unwanted},
       m.lead_ms,
       -- Until when it keeps out of what its recipient writes.
       (SELECT max(w.at) FROM replies AS w WHERE w.chat = m.chat)
           + (SELECT c.manner ->> '$.quiet_after_reply' FROM contents AS c WHERE c.id = m.content),
       {allowed_from},
       m.due_at
FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.id = unhex(j.value)
LEFT JOIN occurrences AS o ON o.id = m.occurrence
WHERE m.state IN ('scheduled', 'typing') AND m.wake_at <= ?2
  AND (m.occurrence IS NULL OR o.state = 'planned' OR (m.state = 'typing' AND o.gate_at IS NULL))
