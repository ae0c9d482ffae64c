SELECT i.name, i.gateway, i.state, i.reason, i.until,
       (SELECT count(*) FROM (
           SELECT 1 FROM messages AS m
           WHERE m.state = 'scheduled' AND m.instance = i.name AND m.rank IN (0, 1, 2) AND m.wake_at + m.lead_ms <= ?1
             AND m.wake_at <= ?1
           LIMIT ?2))
FROM instances AS i
ORDER BY i.name
