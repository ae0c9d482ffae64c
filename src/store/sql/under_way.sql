-- Campaigns of which something waits whose time may have come, or that is on its way, the latest first. A step for each flow
-- that something waits in and for each open message, however many messages there are; of what takes no turns by itself the first
-- that are to leave.
SELECT o.job, o.nominal_at
FROM (
    SELECT flow / 8 AS occurrence FROM waiting_flows WHERE flow > 7
    UNION
    SELECT occurrence FROM (
        SELECT m.occurrence
        FROM waiting_flows AS f
        CROSS JOIN messages AS m ON m.state = 'scheduled' AND m.instance = f.instance AND m.flow = f.flow AND m.wake_at <= ?1
        WHERE f.flow <= 7
        LIMIT 2000)
    UNION
    SELECT occurrence FROM (SELECT occurrence FROM messages WHERE state IN ('typing', 'sending', 'in_doubt') LIMIT 2000)
) AS u
CROSS JOIN occurrences AS o ON o.id = u.occurrence
WHERE o.state = 'planned' AND o.recipients > 1 AND o.nominal_at <= ?1 + 86400000
ORDER BY o.nominal_at DESC, o.id DESC
LIMIT ?2
