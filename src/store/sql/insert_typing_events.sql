INSERT INTO events (message, at, from_state, to_state, note)
SELECT m.id, m.typing_at, 'scheduled', 'typing', NULL
FROM json_each(?1) AS j CROSS JOIN messages AS m ON m.id = unhex(j.value)
WHERE m.typing_at IS NOT NULL
