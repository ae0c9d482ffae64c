-- Messages of drafts that began as such, and that nobody has let go since.
SELECT hex(m.id)
FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.id = unhex(j.value)
CROSS JOIN contents AS c ON c.id = m.content
WHERE c.manner ->> '$.hold' = 1 AND m.attempts = 0
  AND coalesce((SELECT e.from_state FROM events AS e WHERE e.message = m.id ORDER BY e.id LIMIT 1), m.state) IN ('held', 'expired')
  AND NOT EXISTS (SELECT 1 FROM events AS e WHERE e.message = m.id AND e.from_state = 'held' AND e.to_state = 'scheduled')
