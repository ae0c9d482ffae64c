-- Of these, the ones that may still be sent by whoever holds them. One that was given a later wake is claimed again.
SELECT m.id, m.instance, m.job, o.nominal_at, m.state, m.attempts, m.wake_at,
       {unwanted}
FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.id = unhex(j.value)
LEFT JOIN occurrences AS o ON o.id = m.occurrence
WHERE m.state IN ('scheduled', 'typing') AND (m.occurrence IS NULL OR o.state = 'planned') AND m.wake_at <= ?2
