-- Why nobody is told any more of a message `f`, or NULL: whom it went to opted out, left the list that its job follows, or was forgotten.
CASE
    WHEN f.chat GLOB 'erased-*' THEN 'cancelled_by_person'
    WHEN EXISTS (SELECT 1 FROM suppressions AS s WHERE s.chat = f.chat) THEN 'opted_out'
    WHEN EXISTS (SELECT 1 FROM jobs AS g JOIN lists AS l ON l.name = g.definition ->> '$.live.list'
                 WHERE g.name = f.job
                   AND NOT EXISTS (SELECT 1 FROM members AS b
                                   WHERE b.list = l.id AND b.chat = f.chat
                                     AND b.joining NOT IN (SELECT id FROM joinings WHERE done_at IS NULL))) THEN 'left_list'
END
