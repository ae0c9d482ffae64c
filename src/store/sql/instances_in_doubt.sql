-- Instances with doubts whose next look is due.
SELECT DISTINCT instance FROM messages
WHERE state IN ('typing', 'sending', 'in_doubt') AND state = 'in_doubt' AND wake_at <= ?1
