-- News about these messages: what is followed, or what they follow, is looked at now.
UPDATE messages SET follow_at = 0
WHERE followed IN ('waiting', 'unknown') AND unfollowed_at IS NULL
  AND id IN (SELECT coalesce(m.follows, m.id) FROM json_each(?1) AS j CROSS JOIN messages AS m ON m.id = unhex(j.value))
