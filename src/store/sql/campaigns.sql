-- Campaigns, the latest first: of one job or of all, of one instant or of all.
SELECT o.id, o.job, o.nominal_at, o.recipients, o.cancelled_at, i.file, o.renew > 0,
       (SELECT count(*) FROM messages AS m WHERE m.occurrence = o.id AND m.reason = 'replaced')
FROM occurrences AS o
LEFT JOIN imports AS i ON i.occurrence = o.id
WHERE (o.state = 'planned' OR o.planned_at IS NOT NULL) AND o.recipients > 1
  AND (?1 IS NULL OR o.job = ?1)
ORDER BY o.nominal_at DESC, o.id DESC
LIMIT ?2
