INSERT INTO orphan_acks (instance, gateway_id, participant, level, at, source)
SELECT j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5
FROM json_each(?1) AS j
WHERE NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.instance = j.value ->> 0 AND m.gateway_id = j.value ->> 1)
ON CONFLICT DO NOTHING
