-- Jobs that were removed and are declared again: what their removal cancelled makes room for its successors.
UPDATE messages SET reason = 'replaced'
WHERE state = 'cancelled' AND id IN (
    SELECT m.id FROM json_each(?1) AS j
    CROSS JOIN occurrences AS o ON o.job = j.value
    CROSS JOIN messages AS m ON m.occurrence = o.id
    WHERE m.reason IS NOT 'replaced' AND m.reason = 'removed'
    LIMIT ?2)
