-- The latest unfinished one among the twelve occurrences of a job before an instant that were not skipped for one before them: of
-- those the first message tells. What was imported is none of its schedule's. It is finished once its own messages are: what follows them does not count.
SELECT o.id
FROM (SELECT id, nominal_at, renew FROM occurrences
      WHERE job = ?1 AND nominal_at < ?2 AND state <> 'missed' AND id NOT IN (SELECT occurrence FROM imports)
        AND (renew > 0 OR (SELECT s.reason FROM messages AS s
                           WHERE s.occurrence = occurrences.id AND s.reason IS NOT 'replaced' LIMIT 1) IS NOT 'overlap')
      ORDER BY nominal_at DESC LIMIT 12) AS o
WHERE o.renew > 0
   OR EXISTS (SELECT 1 FROM messages AS m
              WHERE m.occurrence = o.id AND m.reason IS NOT 'replaced' AND m.follows IS NULL AND m.state IN ('scheduled', 'typing'))
ORDER BY o.nominal_at DESC
LIMIT 1
