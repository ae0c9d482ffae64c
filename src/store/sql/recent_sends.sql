-- Attempts that may have left: begun ones by when they left, unknown ones by their slot; with what their draws are made
-- of.
SELECT s.at, m.job, o.nominal_at, m.due_at, m.chat, s.number - 1
FROM (
    SELECT r.started_at AS at, r.message, r.number FROM results AS r
    WHERE r.started_at >= ?2 AND r.outcome <> 'not_sent'
    UNION ALL
    SELECT a.slot_at, a.message, a.number FROM messages AS m
    JOIN attempts AS a ON a.message = m.id AND a.number = m.attempts
    WHERE m.state IN ('sending', 'in_doubt') AND a.slot_at >= ?2
      AND NOT EXISTS (SELECT 1 FROM results AS r WHERE r.message = a.message AND r.number = a.number)
) AS s
JOIN messages AS m ON m.id = s.message
LEFT JOIN occurrences AS o ON o.id = m.occurrence
WHERE m.instance = ?1
ORDER BY s.at
