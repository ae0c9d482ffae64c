-- How many messages of an occurrence left in each second since an instant, and one row more: the latest record there is.
SELECT r.started_at / 1000, count(*)
FROM results AS r
CROSS JOIN messages AS m ON m.id = r.message
WHERE r.started_at >= ?2 AND r.state = 'sent' AND m.occurrence = ?1 AND m.follows IS NULL
GROUP BY r.started_at / 1000
UNION ALL
SELECT NULL, coalesce(max(rowid), 0) FROM results
