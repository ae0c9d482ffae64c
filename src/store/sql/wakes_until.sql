SELECT EXISTS (
    SELECT 1 FROM instances AS i
    CROSS JOIN messages AS m
    LEFT JOIN occurrences AS o ON o.id = m.occurrence
    WHERE m.instance = i.name AND m.state = 'scheduled' AND m.wake_at <= ?1 AND i.state <> 'down'
      AND m.rank IN (0, 1, 2)
      AND (m.occurrence IS NULL OR o.state = 'planned')
) OR EXISTS (SELECT 1 FROM jobs WHERE plan_at <= ?1 AND next_at <= ?1)
