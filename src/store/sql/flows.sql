-- The flows of their own of an instance in which something waits that nobody paused, as one more row each: whether it is
-- to be claimed now, and the next wake after those that are. One step to each, however much waits in it.
SELECT NULL, iif(first <= ?2, 'due', NULL), cast(next AS TEXT), NULL, NULL, NULL, flow FROM (
    WITH RECURSIVE found (flow) AS (
        SELECT min(flow) FROM messages WHERE state = 'scheduled' AND instance = ?1 AND flow > 7
        UNION ALL
        SELECT (SELECT min(m.flow) FROM messages AS m
                WHERE m.state = 'scheduled' AND m.instance = ?1 AND m.flow > f.flow)
        FROM found AS f
        WHERE f.flow IS NOT NULL
    )
    SELECT f.flow,
           (SELECT min(m.wake_at) FROM messages AS m
            WHERE m.state = 'scheduled' AND m.instance = ?1 AND m.flow = f.flow) AS first,
           (SELECT min(m.wake_at) FROM messages AS m
            WHERE m.state = 'scheduled' AND m.instance = ?1 AND m.flow = f.flow AND m.wake_at > ?2) AS next
    FROM found AS f
    JOIN occurrences AS o ON o.id = f.flow / 8
    WHERE o.state = 'planned'
      AND (?6 = '{}'
           OR (o.job NOT IN (SELECT value FROM json_each(?6, '$.jobs'))
               AND o.job || '@' || o.nominal_at NOT IN (SELECT value FROM json_each(?6, '$.campaigns'))))
    ORDER BY first, f.flow
)
