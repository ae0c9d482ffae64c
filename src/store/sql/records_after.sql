-- What was recorded of attempts after a record, in the order of the records. What follows another message is of no campaign.
SELECT r.rowid, iif(m.follows IS NULL, m.occurrence, NULL), r.state, r.reason, r.started_at
FROM results AS r
CROSS JOIN messages AS m ON m.id = r.message
WHERE r.rowid > ?1
ORDER BY r.rowid
LIMIT ?2
