-- Occurrences of a job that passed and of which somebody's message was replaced and nothing took its place, the latest first: the
-- schedule did not know them for a while.
SELECT o.id, o.nominal_at FROM occurrences AS o
WHERE o.job = ?1 AND o.nominal_at <= ?2 AND o.nominal_at > ?2 - 604800000 AND o.renew = 0 AND o.extra = 0
  AND o.state <> 'missed' AND o.cancelled_at IS NULL AND o.removed_at IS NULL
  AND o.id NOT IN (SELECT occurrence FROM imports)
  AND EXISTS (SELECT 1 FROM messages AS m
              WHERE m.occurrence = o.id AND m.reason = 'replaced' AND m.follows IS NULL
                AND NOT EXISTS (SELECT 1 FROM messages AS s
                                WHERE s.occurrence = o.id AND s.chat = m.chat AND s.step = m.step
                                  AND s.reason IS NOT 'replaced'))
ORDER BY o.nominal_at DESC
LIMIT 12
