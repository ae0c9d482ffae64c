-- When messages of an occurrence that were replaced were due, the latest version of each last.
SELECT m.chat, m.step, m.due_at
FROM occurrences AS o
CROSS JOIN json_each(?3) AS j
CROSS JOIN messages AS m ON m.occurrence = o.id AND m.chat = j.value
WHERE o.job = ?1 AND o.nominal_at = ?2 AND m.reason = 'replaced'
ORDER BY m.id
