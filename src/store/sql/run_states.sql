-- Messages that were attempted or settled since an instant, by where they stand now.
SELECT m.state, m.ack, count(*)
FROM messages AS m
WHERE m.id IN (
    SELECT message FROM results WHERE started_at >= ?1
    UNION
    SELECT message FROM events WHERE at >= ?1
    UNION
    SELECT id FROM messages WHERE state IN ('expired', 'skipped') AND created_at >= ?1
)
GROUP BY m.state, m.ack
