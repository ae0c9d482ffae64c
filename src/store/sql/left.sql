-- Whether whom a message `f` went to is not in the list that its job follows.
EXISTS (SELECT 1 FROM jobs AS g JOIN lists AS l ON l.name = g.definition ->> '$.live.list'
        WHERE g.name = f.job
          AND NOT EXISTS (SELECT 1 FROM members AS b
                          WHERE b.list = l.id AND b.chat = f.chat
                            AND b.joining NOT IN (SELECT id FROM joinings WHERE done_at IS NULL)))
