-- The message of an occurrence that wakes first in a flow of an instance, looked for among the first that wake.
SELECT id FROM (
    SELECT m.id, m.wake_at, m.occurrence, m.follows FROM messages AS m
    WHERE m.state = 'scheduled' AND m.instance = ?1 AND m.flow = ?2
    ORDER BY m.wake_at
    LIMIT 20000)
WHERE occurrence = ?3 AND follows IS NULL
LIMIT 1
