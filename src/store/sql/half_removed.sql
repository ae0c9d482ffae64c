-- Hidden occurrences of jobs that are gone, other than those that are being imported.
SELECT DISTINCT o.job FROM occurrences AS o
WHERE o.state = 'planning' AND o.gate_at IS NULL
  AND o.job NOT IN (SELECT name FROM jobs)
  AND o.id NOT IN (SELECT occurrence FROM imports WHERE done_at IS NULL)
  AND EXISTS (SELECT 1 FROM messages AS m
              WHERE m.occurrence = o.id AND m.state = 'scheduled' AND m.reason IS NOT 'replaced')
