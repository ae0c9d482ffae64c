INSERT INTO acks (message, participant, level, at, source)
SELECT m.id, o.participant, o.level, o.at, o.source
FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.id = unhex(j.value)
CROSS JOIN orphan_acks AS o ON o.instance = m.instance AND o.gateway_id = m.gateway_id
WHERE true
ON CONFLICT DO NOTHING
