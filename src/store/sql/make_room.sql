UPDATE messages SET reason = 'replaced'
WHERE state = 'cancelled' AND id IN (
    SELECT m.id FROM occurrences AS o
    CROSS JOIN messages AS m ON m.occurrence = o.id
    WHERE o.job = ?1 AND m.reason IS NOT 'replaced' AND m.reason = 'removed'
    LIMIT ?2)
