-- The occurrences of a job before an instant that were planned in time, passed while no daemon ran, and of which nothing
-- was begun: the latest first. So many as can be planned ahead at once.
SELECT o.id, o.nominal_at
FROM (SELECT id, nominal_at, planned_at FROM occurrences
      WHERE job = ?1 AND nominal_at < ?2 AND state = 'planned' AND id NOT IN (SELECT occurrence FROM imports)
      ORDER BY nominal_at DESC LIMIT 256) AS o
WHERE o.planned_at <= o.nominal_at
  AND EXISTS (SELECT 1 FROM outages AS d
              WHERE d.instance IS NULL AND d.began_at <= o.nominal_at AND d.ended_at > o.nominal_at)
  AND EXISTS (SELECT 1 FROM messages AS m
              WHERE m.occurrence = o.id AND m.reason IS NOT 'replaced' AND m.state = 'scheduled' AND m.attempts = 0)
  AND NOT EXISTS (SELECT 1 FROM messages AS m
                  WHERE m.occurrence = o.id AND m.reason IS NOT 'replaced'
                    AND (m.state <> 'scheduled' OR m.attempts > 0))
ORDER BY o.nominal_at DESC
