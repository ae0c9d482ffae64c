-- The message of an instance to delete next: of those whose time has come the one that was sent last.
SELECT r.message, m.chat, m.gateway_id, r.sent_at, r.tries,
       (SELECT x.response FROM results AS x
        WHERE x.message = m.id AND x.outcome = 'accepted' ORDER BY x.number DESC LIMIT 1)
FROM recalls AS r
CROSS JOIN messages AS m ON m.id = r.message
WHERE r.state = 'open' AND r.sent_at IS NOT NULL AND r.instance = ?1 AND r.next_at <= ?2
ORDER BY r.sent_at DESC
LIMIT 1
