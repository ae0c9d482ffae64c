DELETE FROM orphan_acks WHERE (instance, gateway_id) IN (
    SELECT m.instance, m.gateway_id FROM json_each(?1) AS j CROSS JOIN messages AS m ON m.id = unhex(j.value)
)
