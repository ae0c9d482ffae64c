-- The latest unfinished one among the twelve occurrences of a job before an instant. What was imported is none of its
-- schedule's.
SELECT o.id
FROM (SELECT id, nominal_at, renew FROM occurrences
      WHERE job = ?1 AND nominal_at < ?2 AND state <> 'missed' AND id NOT IN (SELECT occurrence FROM imports)
      ORDER BY nominal_at DESC LIMIT 12) AS o
WHERE o.renew > 0
   OR EXISTS (SELECT 1 FROM messages AS m
              WHERE m.occurrence = o.id AND m.reason IS NOT 'replaced' AND m.state IN ('scheduled', 'typing'))
ORDER BY o.nominal_at DESC
LIMIT 1
