-- Whether anything will be worked on up to an instant: not what waits for a person, a paused lane or an earlier step.
SELECT EXISTS (
    SELECT 1 FROM waiting_flows AS f
    CROSS JOIN instances AS i
    CROSS JOIN messages AS m
    LEFT JOIN occurrences AS o ON o.id = m.occurrence
    WHERE i.name = f.instance AND m.instance = f.instance AND m.flow = f.flow AND m.state = 'scheduled' AND m.wake_at <= ?1 AND i.state <> 'down'
      AND (m.occurrence IS NULL OR o.state = 'planned')
      AND (m.step <= 0 OR EXISTS (
            SELECT 1 FROM messages AS p
            WHERE p.occurrence = m.occurrence AND p.chat = m.chat AND p.step = m.step - 1
              AND p.reason IS NOT 'replaced' AND p.state = 'sent'))
      AND NOT EXISTS (
            SELECT 1 FROM pauses AS p
            WHERE (p.until IS NULL OR p.until > ?1)
              AND (p.scope = 'all' OR (p.scope = 'instance' AND p.name = m.instance)
                   OR (p.scope = 'job' AND p.name = m.job)
                   OR (p.scope = 'campaign' AND p.name = m.job || '@' || o.nominal_at)))
) OR EXISTS (SELECT 1 FROM jobs WHERE plan_at <= ?1 AND next_at <= ?1)
  OR EXISTS (SELECT 1 FROM occurrences WHERE renew > 0)
  OR EXISTS (SELECT 1 FROM occurrences WHERE gate_at IS NOT NULL AND gate_at <= ?1 AND state = 'planning')
  OR EXISTS (SELECT 1 FROM messages
             WHERE follow_at IS NOT NULL AND follow_at <= ?1
               AND state IN ('sent', 'failed', 'expired', 'in_doubt') AND (state <> 'in_doubt' OR followed IS NOT NULL))
