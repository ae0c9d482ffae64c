-- The next wake of an instance after those that are claimed, as one more row.
SELECT NULL, NULL, cast(min(wake) AS TEXT), NULL, NULL, NULL, NULL FROM (
    SELECT min(wake_at) AS wake FROM messages WHERE state = 'scheduled' AND instance = ?1 AND rank = 0 AND wake_at > ?2
    UNION ALL
    SELECT min(wake_at) FROM messages WHERE state = 'scheduled' AND instance = ?1 AND rank = 1 AND wake_at > ?2
    UNION ALL
    SELECT min(wake_at) FROM messages WHERE state = 'scheduled' AND instance = ?1 AND rank = 2 AND wake_at > ?2
)
