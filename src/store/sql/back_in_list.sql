-- Who left a list and came back gets what was skipped when they left: it gives way to the new message. What follows a message that
-- ended for another reason, or that was tried, stays skipped.
UPDATE messages AS m SET reason = 'replaced'
WHERE m.occurrence = ?1 AND m.chat IN (SELECT value FROM json_each(?2)) AND m.reason IS NOT 'replaced'
  AND m.state IN ('skipped', 'cancelled') AND m.reason IN ('left_list', 'sequence') AND m.attempts = 0
  AND NOT EXISTS (SELECT 1 FROM messages AS p
                  WHERE p.occurrence = m.occurrence AND p.chat = m.chat AND p.step < m.step AND p.step >= 0
                    AND p.reason IS NOT 'replaced' AND p.state IN ('failed', 'cancelled', 'expired', 'skipped')
                    AND (p.attempts > 0 OR p.reason NOT IN ('left_list', 'sequence')))
