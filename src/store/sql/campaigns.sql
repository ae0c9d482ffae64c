-- Campaigns, the latest first: of one job or of all, of one instant or of all.
SELECT o.id, o.job, o.nominal_at, o.recipients, o.cancelled_at, i.file
FROM occurrences AS o
LEFT JOIN imports AS i ON i.occurrence = o.id
WHERE o.state = 'planned' AND o.recipients > 1
  AND (?1 IS NULL OR o.job = ?1)
ORDER BY o.nominal_at DESC, o.id DESC
LIMIT ?2
