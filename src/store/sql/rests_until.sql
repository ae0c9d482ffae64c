-- Whether no message of an instance that wakes up to an instant is still waiting, typed or out.
WITH RECURSIVE flows (flow) AS (
    SELECT min(flow) FROM messages WHERE state = 'scheduled' AND instance = ?2
    UNION ALL
    SELECT (SELECT min(m.flow) FROM messages AS m WHERE m.state = 'scheduled' AND m.instance = ?2 AND m.flow > f.flow)
    FROM flows AS f
    WHERE f.flow IS NOT NULL
)
SELECT NOT EXISTS (
    SELECT 1 FROM messages
    WHERE state IN ('typing', 'sending', 'in_doubt') AND state IN ('typing', 'sending') AND instance = ?2
) AND NOT EXISTS (
    SELECT 1 FROM flows AS f
    CROSS JOIN messages AS m
    WHERE m.state = 'scheduled' AND m.instance = ?2 AND m.flow = f.flow AND m.wake_at <= ?1
)
