-- Waiting messages of one flow of an instance, by wake, that this node does not hold yet. A step of a sequence
-- waits until the one before it is sent; paused jobs and campaigns wait. The numbers of a row come in one text: each value of a row costs an
-- allocation here and its end on another thread.
SELECT * FROM (
    SELECT m.id, m.chat,
           concat_ws(' ', m.class, m.content, m.due_at, m.wake_at, m.lead_ms, m.attempts, m.tries,
                     coalesce(m.first_marked_at, '-'), m.guard, coalesce(o.nominal_at, '-'), m.step, m.steps,
                     coalesce(m.expires_at, '-'), m.key IS NOT NULL, coalesce(o.event_at, '-'), m.flow,
                     EXISTS (SELECT 1 FROM opt_ins AS i WHERE i.chat = m.chat),
                     -- When it may follow the message of its sequence before it, and whether its recipient has written since.
                     iif(m.step > 0, coalesce((SELECT p.sent_at + m.due_at - p.due_at FROM messages AS p
                                               WHERE p.occurrence = m.occurrence AND p.chat = m.chat AND p.step = m.step - 1
                                                 AND p.reason IS NOT 'replaced' AND m.due_at > p.due_at), '-'), '-'),
                     m.step > 0 AND EXISTS (SELECT 1 FROM replies AS y
                                            WHERE y.chat = m.chat
                                              AND y.at >= (SELECT f.sent_at FROM messages AS f
                                                           WHERE f.occurrence = m.occurrence AND f.chat = m.chat AND f.step = 0
                                                             AND f.reason IS NOT 'replaced')),
                     coalesce((SELECT max(w.at) FROM replies AS w WHERE w.chat = m.chat), '-')),
           m.job, r.vars,
           iif(EXISTS (SELECT 1 FROM suppressions AS s WHERE s.chat = m.chat), 'opted_out', m.reason), m.flow
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
