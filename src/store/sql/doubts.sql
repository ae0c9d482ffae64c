SELECT m.id, m.chat,
       {numbers},
       m.job, r.vars, m.reason,
       a.number, a.marked_at, a.slot_at,
       (SELECT count(*) FROM evidence AS e
        WHERE e.message = m.id AND e.number = a.number AND e.kind = 'history' AND e.verdict = 'not_found'),
       (SELECT count(*) FROM evidence AS e
        WHERE e.message = m.id AND e.number = a.number AND e.kind = 'history' AND e.verdict IN ('out_of_reach', 'unclear', 'earlier', 'shared')),
       (SELECT count(*) FROM evidence AS e
        WHERE e.message = m.id AND e.number = a.number AND e.kind = 'history' AND e.verdict = 'unavailable'),
       m.withdrawn = 1 OR EXISTS (SELECT 1 FROM recalls AS x WHERE x.message = m.id AND x.state = 'open')
           OR coalesce(o.cancelled_at, o.removed_at) IS NOT NULL
FROM messages AS m
JOIN attempts AS a ON a.message = m.id AND a.number = m.attempts
LEFT JOIN occurrences AS o ON o.id = m.occurrence
LEFT JOIN recipients AS r ON r.audience = m.audience AND r.place = m.place
WHERE m.state IN ('typing', 'sending', 'in_doubt') AND m.state = 'in_doubt' AND m.wake_at <= ?1 AND m.instance = ?3
ORDER BY m.wake_at
LIMIT ?2
