-- Messages whose followers are to be looked at: what is followed and rests, or is in doubt, and what a resting follower follows.
SELECT DISTINCT due.id FROM (
    SELECT coalesce(m.follows, m.id) AS id FROM messages AS m
    WHERE m.follow_at IS NOT NULL AND m.follow_at <= ?1
      AND m.state IN ('sent', 'failed', 'expired', 'in_doubt')
      AND (m.state <> 'in_doubt' OR m.followed IS NOT NULL)
    ORDER BY m.follow_at
    LIMIT ?2) AS due
