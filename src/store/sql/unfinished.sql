-- Occurrences that a command is at: a change of their job, its removal, or a call beside its schedule; with how far it is.
SELECT o.id, o.job, o.nominal_at,
       (SELECT count(*) FROM messages AS m WHERE m.occurrence = o.id AND m.reason IS NOT 'replaced')
           + (SELECT count(*) FROM messages AS m WHERE m.occurrence = o.id AND m.reason = 'replaced'),
       (SELECT count(*) FROM messages AS m
        WHERE m.occurrence = o.id AND m.state IN ('scheduled', 'typing', 'held') AND m.reason IS NOT 'replaced')
FROM occurrences AS o
WHERE o.state = 'planning' AND o.gate_at IS NULL
  AND (o.renew IN (1, 3)
       OR o.extra = 1 AND o.planned_at IS NULL
          AND EXISTS (SELECT 1 FROM messages AS m
                      WHERE m.occurrence = o.id AND m.state IN ('scheduled', 'held') AND m.reason IS NOT 'replaced'))
  AND o.id NOT IN (SELECT occurrence FROM imports)
LIMIT 1000
