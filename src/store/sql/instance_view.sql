SELECT (SELECT count(*) FROM messages WHERE state = 'typing' AND instance = ?1),
       (SELECT count(*) FROM messages WHERE state = 'sending' AND instance = ?1),
       (SELECT r.finished_at FROM results AS r JOIN messages AS m ON m.id = r.message
        WHERE r.started_at IS NOT NULL AND r.outcome = 'accepted' AND m.instance = ?1
        ORDER BY r.started_at DESC LIMIT 1)
