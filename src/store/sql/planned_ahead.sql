-- What waits of an occurrence to come; not what was imported, and not what somebody asked for beside the schedule
-- (run-now).
SELECT j.definition, j.content, j.then_contents, j.audience, a.size, j.first_applied_at, j.next_at, 0,
       j.event_moved_to, j.event_cancelled, j.applied_at,
       (SELECT json_group_array(o.nominal_at) FROM occurrences AS o
        WHERE o.job = j.name AND o.nominal_at > ?1
          AND o.id NOT IN (SELECT occurrence FROM imports)
          AND EXISTS (SELECT 1 FROM messages AS m
                      WHERE m.occurrence = o.id AND m.state = 'scheduled' AND m.reason IS NOT 'replaced'
                        AND m.follows IS NULL)
          AND o.extra = 0),
       (SELECT max(o.nominal_at) FROM occurrences AS o WHERE o.job = j.name AND o.nominal_at <= ?1)
FROM jobs AS j JOIN audiences AS a ON a.id = j.audience
WHERE j.name > ?2
  AND (j.next_at IS NOT NULL
       OR EXISTS (SELECT 1 FROM occurrences AS o WHERE o.job = j.name AND o.nominal_at > ?1))
ORDER BY j.name
LIMIT ?3
