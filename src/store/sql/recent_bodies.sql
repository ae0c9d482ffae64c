-- Contents whose requests may have gone out.
SELECT m.id, m.chat, a.body, a.marked_at
FROM attempts AS a
JOIN messages AS m ON m.id = a.message
WHERE a.marked_at >= ?1 AND a.body IS NOT NULL AND m.state IN ('sending', 'sent', 'in_doubt')
