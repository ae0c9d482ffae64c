INSERT INTO acks (message, participant, level, at, source)
SELECT m.id, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5
FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.instance = j.value ->> 0 AND m.gateway_id = j.value ->> 1
WHERE true
ON CONFLICT DO NOTHING
