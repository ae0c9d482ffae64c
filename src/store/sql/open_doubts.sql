-- One row for each attempt that just became doubtful: id of the message, when, and the id its answer named.
INSERT INTO doubts (message, number, instance, chat, body, marked_at, named, opened_at)
SELECT m.id, m.attempts, m.instance, m.chat, a.body, a.marked_at, j.value ->> 2, j.value ->> 1
FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.id = unhex(j.value ->> 0)
CROSS JOIN attempts AS a ON a.message = m.id AND a.number = m.attempts
WHERE true
ON CONFLICT DO NOTHING
