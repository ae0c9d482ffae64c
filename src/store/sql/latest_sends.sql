-- The latest sends of a campaign in a span of time, looked for among the latest of all.
SELECT r.outcome, m.ack,
       EXISTS (SELECT 1 FROM consents AS c
               WHERE c.chat = m.chat AND c.verdict = 'out' AND c.source = 'keyword' AND c.effect = 'changed' AND c.at >= r.started_at)
FROM (
    SELECT message, outcome, started_at FROM results
    WHERE started_at > ?2 AND started_at <= ?3 ORDER BY started_at DESC LIMIT 20000
) AS r
CROSS JOIN messages AS m ON m.id = r.message
WHERE m.occurrence = ?1
LIMIT ?4
