-- Somebody wrote: what is followed in that chat, or was escalated to it, is looked at now.
UPDATE messages SET follow_at = 0
WHERE followed IN ('waiting', 'unknown') AND unfollowed_at IS NULL
  AND id IN (SELECT m.id FROM json_each(?1) AS j
             CROSS JOIN messages AS m ON m.chat = j.value ->> 2 AND m.followed IS NOT NULL
             UNION
             SELECT m.follows FROM json_each(?1) AS j
             CROSS JOIN messages AS m ON m.chat = j.value ->> 2 AND m.follows IS NOT NULL)
