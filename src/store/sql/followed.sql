-- What is not in a claim and its followers need.
SELECT m.audience, m.place, m.occurrence, m.follow_at, m.followed,
       EXISTS (SELECT 1 FROM jobs AS j WHERE j.name = m.job AND j.event_cancelled = 0)
         AND NOT EXISTS (SELECT 1 FROM recalls AS x WHERE x.message = m.id)
         AND NOT EXISTS (SELECT 1 FROM occurrences AS w
                         WHERE w.id = m.occurrence AND coalesce(w.cancelled_at, w.removed_at) IS NOT NULL),
       (SELECT {gone} FROM messages AS f WHERE f.id = m.id) IS NOT NULL,
       EXISTS (SELECT 1 FROM occurrences AS w WHERE w.id = m.occurrence AND w.nominal_at < w.event_at)
FROM messages AS m
WHERE m.id = ?1
