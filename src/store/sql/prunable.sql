SELECT count(*) FROM messages
WHERE state IN ('sent', 'failed', 'cancelled', 'expired', 'skipped') AND due_at < ?1 AND created_at < ?1
