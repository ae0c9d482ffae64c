-- Jobs whose replacing was cut off: those that have a next occurrence and no instant to plan it, and those without one
-- that still have messages in occurrences that were visible once and are hidden now.
SELECT name FROM jobs WHERE plan_at IS NULL AND next_at IS NOT NULL
UNION
SELECT j.name FROM jobs AS j
CROSS JOIN occurrences AS o ON o.job = j.name
WHERE j.plan_at IS NULL AND j.next_at IS NULL
  AND o.state = 'planning' AND o.gate_at IS NULL AND o.planned_at IS NOT NULL
  AND o.id NOT IN (SELECT occurrence FROM imports)
  AND EXISTS (SELECT 1 FROM messages AS m
              WHERE m.occurrence = o.id AND m.state = 'scheduled' AND m.reason IS NOT 'replaced')
