CASE
           -- The answer to an opt-out is the one message that still goes there.
           WHEN EXISTS (SELECT 1 FROM suppressions AS s WHERE s.chat = m.chat AND s.farewell IS NOT m.id) THEN 'opted_out'
           -- What follows a message ends with whom that went to.
           WHEN m.follows IS NOT NULL AND (SELECT {gone} FROM messages AS f WHERE f.id = m.follows) IS NOT NULL
               THEN (SELECT {gone} FROM messages AS f WHERE f.id = m.follows)
           -- Its recipient has had as many as the `frequency` of its job allows.
           WHEN {too_often} THEN 'too_often'
           -- Its recipient has answered an earlier message of its sequence.
           WHEN m.step > 0 AND EXISTS (
               SELECT 1 FROM replies AS y
               WHERE y.chat = m.chat
                 AND y.at >= (SELECT f.sent_at FROM messages AS f
                              WHERE f.occurrence = m.occurrence AND f.chat = m.chat AND f.step = 0
                                AND f.reason IS NOT 'replaced'))
               AND (SELECT c.manner ->> '$.stop_on_reply' FROM contents AS c WHERE c.id = m.content) = 1 THEN 'replied'
           -- Its recipient left the list that its job follows while it was out, or in doubt.
           WHEN m.attempts > 0 AND m.follows IS NULL AND (SELECT {left} FROM messages AS f WHERE f.id = m.id) THEN 'left_list'
           -- The event that it reminds of was called off.
           WHEN o.event_at IS NOT NULL
               AND EXISTS (SELECT 1 FROM jobs AS e WHERE e.name = m.job AND e.event_cancelled = 1) THEN 'event_cancelled'
           -- It comes back from a try that did not go out, and meanwhile its campaign was called off, or its job removed.
           WHEN m.attempts > 0
               AND m.reason IN ('refused_for_now', 'not_sent', 'rate_limited', 'instance_down', 'proved_unsent', 'resent_on_doubt')
               THEN (SELECT CASE WHEN w.cancelled_at IS NOT NULL THEN 'cancelled_by_person'
                                 WHEN w.removed_at IS NOT NULL THEN 'removed' END
                     FROM occurrences AS w WHERE w.id = m.occurrence)
       END
