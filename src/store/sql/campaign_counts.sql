-- The messages of an occurrence by how they stand. What follows another message is none of them. All that waits is in one flow.
SELECT m.state, m.reason, m.ack, m.instance, m.class, count(*), min(m.due_at), max(m.due_at), min(m.sent_at), max(m.sent_at),
       sum(m.sent_at >= ?2), sum(m.sent_at >= ?3), (SELECT max(rowid) FROM results),
       max(iif(m.state = 'scheduled', m.flow, NULL)),
       min(iif(m.state IN ('scheduled', 'typing', 'held'), m.expires_at, NULL))
FROM messages AS m
WHERE m.occurrence = ?1 AND m.reason IS NOT 'replaced' AND m.follows IS NULL
GROUP BY m.state, m.reason, m.ack, m.instance, m.class
