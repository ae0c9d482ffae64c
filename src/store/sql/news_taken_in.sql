-- The news of followers that rest is taken in.
UPDATE messages SET follow_at = NULL
WHERE follows = ?1 AND follow_at IS NOT NULL
  AND state IN ('sent', 'failed', 'expired')
