-- Messages of an occurrence that went out, may have, or follow what did, and of which no recall was asked yet; after a place.
SELECT m.id, m.chat, m.step, m.instance, m.attempts, iif(m.state = 'sent', m.sent_at, NULL), m.state IN ('sending', 'in_doubt')
FROM messages AS m
WHERE m.occurrence = ?1 AND m.reason IS NOT 'replaced'
  AND (m.chat, m.step) > (?2, ?3)
  AND (m.state IN ('sent', 'sending', 'in_doubt')
         AND (?4 IS NULL OR coalesce(iif(m.state = 'sent', m.sent_at, NULL),
                                     (SELECT max(a.marked_at) FROM attempts AS a WHERE a.message = m.id)) >= ?4)
       -- What waits of those that follow is not sent any more.
       OR m.follows IS NOT NULL AND m.state IN ('scheduled', 'typing', 'held')
       -- An attempt nobody knows about may turn out to have gone out, whatever became of its message.
       OR EXISTS (SELECT 1 FROM doubts AS d
                  WHERE d.message = m.id AND (d.verdict IS NULL OR d.verdict IN ('resent', 'dropped'))
                    AND (?4 IS NULL OR d.marked_at >= ?4)))
  -- What could not be deleted may be asked for again, and what was sent only afterwards.
  AND NOT EXISTS (SELECT 1 FROM recalls AS r
                  WHERE r.message = m.id
                    AND (r.state IN ('open', 'done') OR r.state = 'too_late' OR r.state = 'unsent' AND r.attempts = m.attempts
                         OR r.state = 'failed' AND (r.reason = 'cannot' OR r.asked_at >= ?6)))
ORDER BY m.chat, m.step
LIMIT ?5
