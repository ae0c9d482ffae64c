-- The latest occurrence that has come and of which something left or was settled.
SELECT o.nominal_at,
       CASE WHEN o.state = 'missed' THEN 'missed'
            ELSE (SELECT m.state FROM messages AS m
                  WHERE m.occurrence = o.id AND m.reason IS NOT 'replaced'
                  ORDER BY CASE m.state WHEN 'sending' THEN 0 WHEN 'typing' THEN 1 WHEN 'in_doubt' THEN 2
                                        WHEN 'scheduled' THEN 3 WHEN 'held' THEN 4 WHEN 'failed' THEN 5 ELSE 6 END
                  LIMIT 1) END
FROM occurrences AS o
WHERE o.job = ?1 AND o.nominal_at <= ?2
  AND (o.state = 'missed'
       OR EXISTS (SELECT 1 FROM messages AS m
                  WHERE m.occurrence = o.id AND m.reason IS NOT 'replaced' AND m.state <> 'scheduled'))
ORDER BY o.nominal_at DESC
LIMIT 1
