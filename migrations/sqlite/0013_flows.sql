-- What takes turns in a lane: the number of a message's class, or, where its occurrence has twenty recipients or more and
-- its class is not strict, eight times the occurrence's plus that of its class.
ALTER TABLE messages RENAME COLUMN rank TO flow;

UPDATE messages
SET flow = CASE
        WHEN (SELECT o.recipients FROM occurrences AS o WHERE o.id = messages.occurrence) >= 20 THEN 8 * occurrence + class
        ELSE class
    END
WHERE class >= 2;

-- Flows of their own in which something waits, of all instances: one step to each, however much waits in it.
CREATE VIEW waiting_flows (instance, flow) AS
WITH RECURSIVE found (instance, flow) AS (
    SELECT i.name, (SELECT min(m.flow) FROM messages AS m
                    WHERE m.state = 'scheduled' AND m.instance = i.name)
    FROM instances AS i
    UNION ALL
    SELECT f.instance, (SELECT min(m.flow) FROM messages AS m
                        WHERE m.state = 'scheduled' AND m.instance = f.instance AND m.flow > f.flow)
    FROM found AS f
    WHERE f.flow IS NOT NULL
)
SELECT instance, flow FROM found WHERE flow IS NOT NULL;
