SELECT j.definition, j.content, j.then_contents, j.audience, a.size, j.first_applied_at, j.next_at,
       EXISTS (SELECT 1 FROM occurrences AS o
               WHERE o.job = j.name AND o.nominal_at = j.next_at AND o.state = 'planning'),
       j.event_moved_to, j.event_cancelled
FROM jobs AS j JOIN audiences AS a ON a.id = j.audience
WHERE j.plan_at <= ?1 AND j.name > ?3
ORDER BY j.name
LIMIT ?2
