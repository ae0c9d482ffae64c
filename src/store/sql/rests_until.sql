-- Whether no message of an instance that wakes up to an instant is still waiting, typed or out.
SELECT NOT EXISTS (
    SELECT 1 FROM messages
    WHERE state IN ('typing', 'sending', 'in_doubt') AND state IN ('typing', 'sending') AND instance = ?2
) AND NOT EXISTS (
    SELECT 1 FROM messages
    WHERE state = 'scheduled' AND instance = ?2 AND rank IN (0, 1, 2) AND wake_at <= ?1
)
