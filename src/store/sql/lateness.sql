-- First attempts that no pacing held back. The latest hundred thousand are plenty for a percentile.
SELECT r.started_at - m.due_at
FROM results AS r
JOIN attempts AS a ON a.message = r.message AND a.number = r.number
JOIN messages AS m ON m.id = r.message
WHERE r.started_at >= ?1 AND r.started_at < ?2 AND r.number = 1 AND a.paced = 0 AND r.started_at IS NOT NULL
ORDER BY r.started_at DESC
LIMIT 100000
