SELECT m.id FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.id = unhex(j.value)
LEFT JOIN occurrences AS o ON o.id = m.occurrence
WHERE m.state IN ('scheduled', 'typing') AND (m.occurrence IS NULL OR o.state = 'planned')
