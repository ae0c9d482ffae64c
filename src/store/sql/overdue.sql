-- How much should have been looked at before an instant: gates, what is followed, jobs to be planned.
SELECT (SELECT count(*) FROM occurrences WHERE gate_at IS NOT NULL AND gate_at < ?1 AND state = 'planning'),
       (SELECT count(*) FROM messages
        WHERE follow_at IS NOT NULL AND follow_at > 0 AND follow_at < ?1 AND state IN ('sent', 'failed', 'expired', 'in_doubt')
           AND (state <> 'in_doubt' OR followed IS NOT NULL)),
       (SELECT count(*) FROM jobs WHERE plan_at IS NOT NULL AND plan_at < ?1)
