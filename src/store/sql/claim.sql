-- Waiting messages of one flow of an instance, by wake, that this node does not hold yet. A step of a sequence
-- waits until the one before it is sent; paused jobs and campaigns wait. The numbers of a row come in one text: each value of a row costs an
-- allocation here and its end on another thread.
SELECT * FROM (
    SELECT m.id, m.chat,
           {numbers},
           m.job, r.vars,
           coalesce({unwanted}, m.reason), m.flow
    FROM messages AS m
    LEFT JOIN occurrences AS o ON o.id = m.occurrence
    LEFT JOIN recipients AS r ON r.audience = m.audience AND r.place = m.place
    WHERE m.state = 'scheduled' AND m.instance = ?1 AND m.flow = {flow} AND m.wake_at <= ?2{after}
      AND (m.occurrence IS NULL OR o.state = 'planned')
      AND (m.step <= 0 OR EXISTS (
            SELECT 1 FROM messages AS p
            WHERE p.occurrence = m.occurrence AND p.chat = m.chat AND p.step = m.step - 1 AND p.reason IS NOT 'replaced'
              AND p.state = 'sent'))
      AND (m.job IS NULL OR ?6 = '{}'
           OR (m.job NOT IN (SELECT value FROM json_each(?6, '$.jobs'))
               AND (o.id IS NULL
                    OR m.job || '@' || o.nominal_at NOT IN (SELECT value FROM json_each(?6, '$.campaigns')))))
      AND m.id NOT IN (SELECT unhex(value) FROM json_each(?3))
    ORDER BY m.wake_at, m.id
    LIMIT {limit}
)
