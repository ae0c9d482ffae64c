-- Which of these ids are messages of ours already, and which of those were answered for so long before an attempt was marked that
-- a history shows them below it: what was answered shortly before may be carried later. The order in which attempts were
-- written is asked too: a clock may have been wrong.
SELECT m.gateway_id,
       EXISTS (
           SELECT 1 FROM results AS r
           JOIN attempts AS a ON a.message = r.message AND a.number = r.number
           JOIN attempts AS its ON its.message = ?3 AND its.number = ?4
           WHERE r.message = m.id AND r.outcome = 'accepted' AND r.finished_at < its.marked_at - ?5 AND a.rowid < its.rowid
       )
FROM messages AS m
WHERE m.instance = ?1 AND m.gateway_id IN (SELECT value FROM json_each(?2))
