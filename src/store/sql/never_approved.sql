-- Messages of drafts that ended while they waited for their approval, or before they could.
SELECT hex(m.id)
FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.id = unhex(j.value)
CROSS JOIN contents AS c ON c.id = m.content
WHERE c.manner ->> '$.hold' = 1 AND m.attempts = 0
  AND coalesce((SELECT e.from_state FROM events AS e WHERE e.message = m.id ORDER BY e.id DESC LIMIT 1), 'held') = 'held'
  AND NOT EXISTS (SELECT 1 FROM events AS e WHERE e.message = m.id AND e.from_state = 'held' AND e.to_state = 'scheduled')
