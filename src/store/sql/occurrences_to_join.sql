-- The occurrences of a job that take recipients, the latest first: visible, of the schedule, called off by nobody.
SELECT o.id, o.nominal_at,
       o.forgotten,
       (SELECT m.flow >= 8 FROM messages AS m WHERE m.occurrence = o.id AND m.reason IS NOT 'replaced' LIMIT 1)
FROM occurrences AS o
WHERE o.job = ?1 AND o.state = 'planned' AND o.cancelled_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM imports AS i WHERE i.occurrence = o.id)
  AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.name = o.job AND j.event_cancelled)
ORDER BY o.nominal_at DESC
LIMIT 1000
