-- Settled long ago, and followed no more.
SELECT hex(id) FROM messages
WHERE id < unhex(?3) AND id > unhex(?4)
  AND (state IN ('cancelled', 'skipped') AND due_at < ?1 AND created_at < ?1
       OR state = 'sent' AND follow_at IS NULL AND due_at < ?1 AND created_at < ?1
       OR state IN ('failed', 'expired') AND follow_at IS NULL AND due_at < ?2 AND created_at < ?2)
ORDER BY id
LIMIT ?5
