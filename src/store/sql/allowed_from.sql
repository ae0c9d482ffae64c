CASE WHEN m.counted = 1 THEN
    -- From when on the `frequency` of its job lets a message `m` go, by what left, or may have left, so far; NULL where none
    -- concerns it.
    (SELECT coalesce((SELECT ranked.at FROM (
                          SELECT w.at, row_number() OVER (ORDER BY w.at DESC) AS number
                          FROM (SELECT CASE t.state
                                           WHEN 'sending' THEN {now}
                                           WHEN 'sent' THEN t.sent_at
                                           -- It may have been tried again long after the first time.
                                           WHEN 'in_doubt' THEN (SELECT max(a.marked_at) FROM attempts AS a WHERE a.message = t.id)
                                       END AS at
                                FROM messages AS t
                                WHERE t.chat = m.chat AND t.counted = 1 AND t.id <> m.id AND t.first_marked_at IS NOT NULL) AS w
                          WHERE w.at IS NOT NULL) AS ranked
                      WHERE ranked.number = c.manner ->> '$.frequency.at_most') + (c.manner ->> '$.frequency.within'), 0)
     FROM contents AS c WHERE c.id = m.content AND c.manner ->> '$.frequency.at_most' IS NOT NULL) END
