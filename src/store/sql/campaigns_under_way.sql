-- Campaigns of which something waits, with one of their contents.
SELECT o.id, o.job, o.nominal_at,
       (SELECT m.content FROM messages AS m
        WHERE m.state = 'scheduled' AND m.instance = f.instance AND m.flow = f.flow LIMIT 1)
FROM waiting_flows AS f
JOIN occurrences AS o ON o.id = f.flow / 8
WHERE f.flow > 7 AND o.state = 'planned'
