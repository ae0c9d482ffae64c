-- One occurrence by its job and instant. Of a job alone the latest that has come, else the first that is to come.
-- One that was visible once is found also while it is planned anew. Of a job alone one whose messages were all replaced by
-- those of another instant is found last.
SELECT o.id, o.job, o.nominal_at, o.recipients, o.cancelled_at, i.file, o.renew > 0,
       (SELECT count(*) FROM messages AS m WHERE m.occurrence = o.id AND m.reason = 'replaced')
FROM occurrences AS o
LEFT JOIN imports AS i ON i.occurrence = o.id
WHERE (o.state = 'planned' OR o.planned_at IS NOT NULL) AND o.job = ?1 AND (?2 IS NULL OR o.nominal_at = ?2)
ORDER BY o.renew = 0 AND o.state <> 'missed'
             AND EXISTS (SELECT 1 FROM messages AS m WHERE m.occurrence = o.id AND m.reason = 'replaced')
             AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.occurrence = o.id AND m.reason IS NOT 'replaced'),
         o.nominal_at > ?3, CASE WHEN o.nominal_at > ?3 THEN o.nominal_at ELSE -o.nominal_at END
LIMIT 1
