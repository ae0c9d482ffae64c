SELECT j.definition, j.content, j.then_contents, j.audience, a.size, j.first_applied_at, j.next_at,
       0,
       j.event_moved_to, j.event_cancelled, j.applied_at
FROM jobs AS j JOIN audiences AS a ON a.id = j.audience
WHERE (j.plan_at <= ?1
       -- Of several instants the last ones may be planned already.
       OR j.next_at IS NULL AND json_array_length(j.definition, '$.schedule.at') > 1)
  AND j.name > ?3
ORDER BY j.name
LIMIT ?2
