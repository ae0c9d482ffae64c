SELECT count(*) FROM results AS r
JOIN messages AS m ON m.id = r.message
WHERE r.started_at >= ?1 AND m.state = 'sent' AND (m.ack IS NULL OR m.ack IN (0, 1, 2))
