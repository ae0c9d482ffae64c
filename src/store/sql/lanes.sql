-- Every instance: how it stands, and how many of its messages should have left by now, counted up to a limit.
SELECT i.name, i.gateway, i.state, i.reason, i.until, min(coalesce(w.waiting, 0), ?2)
FROM instances AS i
LEFT JOIN (
    SELECT f.instance, sum((SELECT count(*) FROM (
               SELECT 1 FROM messages AS m
               WHERE m.state = 'scheduled' AND m.instance = f.instance AND m.flow = f.flow
                 AND m.wake_at + m.lead_ms <= ?1 AND m.wake_at <= ?1
               LIMIT ?2))) AS waiting
    FROM waiting_flows AS f
    GROUP BY f.instance
) AS w ON w.instance = i.name
ORDER BY i.name
