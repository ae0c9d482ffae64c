-- Jobs that are gone of which something is still hidden, other than what is being imported.
SELECT DISTINCT o.job FROM occurrences AS o
WHERE o.state = 'planning' AND o.job NOT IN (SELECT name FROM jobs)
  AND o.id NOT IN (SELECT occurrence FROM imports WHERE done_at IS NULL)
  AND (o.renew > 0
       OR EXISTS (SELECT 1 FROM messages AS m
                  WHERE m.occurrence = o.id AND m.state IN ('scheduled', 'typing', 'held')
                    AND m.reason IS NOT 'replaced'))
