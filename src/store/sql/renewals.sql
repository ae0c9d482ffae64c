-- Occurrences that are to be planned anew, the earliest first, with their jobs, and whether anything of them was begun.
SELECT j.definition, j.content, j.then_contents, j.audience, a.size, j.first_applied_at, j.next_at, 1,
       j.event_moved_to, j.event_cancelled, j.applied_at, o.nominal_at,
       EXISTS (SELECT 1 FROM messages AS m
               WHERE m.occurrence = o.id AND m.reason IS NOT 'replaced' AND m.follows IS NULL
                 AND (m.attempts > 0 OR m.state = 'typing')),
       o.renew = 4 OR o.forgotten
FROM occurrences AS o
JOIN jobs AS j ON j.name = o.job
JOIN audiences AS a ON a.id = j.audience
WHERE o.renew IN (2, 4)
ORDER BY o.nominal_at, o.job
LIMIT ?1
