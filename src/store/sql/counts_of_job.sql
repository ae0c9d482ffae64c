SELECT m.state, count(*)
FROM occurrences AS o
CROSS JOIN messages AS m ON m.occurrence = o.id AND m.reason IS NOT 'replaced'
WHERE o.job = ?1
GROUP BY m.state
