-- The latest campaigns that take turns by themselves and of which something waits, with one of their contents. A step or two
-- for each, however many messages it has and however many instances there are.
SELECT o.id, o.job, o.nominal_at, m.content
FROM (
    SELECT c.id, c.job, c.nominal_at, (SELECT f.id FROM messages AS f WHERE f.occurrence = c.id LIMIT 1) AS first
    FROM occurrences AS c
    WHERE c.recipients > 1 AND c.recipients >= 20 AND c.state = 'planned' AND c.cancelled_at IS NULL
    ORDER BY c.nominal_at DESC
    LIMIT 200
) AS o
JOIN messages AS m ON m.id = o.first
WHERE EXISTS (SELECT 1 FROM messages AS w WHERE w.state = 'scheduled' AND w.instance = m.instance AND w.flow = m.flow)
