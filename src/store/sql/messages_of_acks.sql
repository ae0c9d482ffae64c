SELECT DISTINCT hex(m.id) FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.instance = j.value ->> 0 AND m.gateway_id = j.value ->> 1
