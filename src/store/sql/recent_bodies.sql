-- Contents whose requests may have gone out, the oldest first.
SELECT m.id, a.body, a.marked_at
FROM attempts AS a
JOIN messages AS m ON m.id = a.message
WHERE a.marked_at >= ?1 AND a.body IS NOT NULL AND m.state IN ('sending', 'sent', 'in_doubt')
ORDER BY a.marked_at
