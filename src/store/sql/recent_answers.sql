-- How an instance's gateway answered lately, the latest first: by how much later than its slot each request left, how
-- long it took and what it was. Looked for among the latest answers of all instances.
SELECT r.started_at - a.slot_at, r.finished_at - r.started_at, r.outcome
FROM (
    SELECT message, number, started_at, finished_at, outcome FROM results
    WHERE started_at IS NOT NULL ORDER BY started_at DESC LIMIT 20000
) AS r
JOIN messages AS m ON m.id = r.message
JOIN attempts AS a ON a.message = r.message AND a.number = r.number
WHERE m.instance = ?1 AND r.finished_at IS NOT NULL
LIMIT ?2
