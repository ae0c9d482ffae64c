-- Recipients of an audience after a place who have no message in an occurrence.
SELECT r.place, r.chat, r.vars
FROM recipients AS r
WHERE r.audience = ?1 AND r.place > ?3 AND r.chat <> '' AND r.chat NOT GLOB '~*'
  AND NOT EXISTS (SELECT 1 FROM messages AS m
                  WHERE m.occurrence = ?2 AND m.chat = r.chat AND m.step = 0 AND m.reason IS NOT 'replaced')
ORDER BY r.place
LIMIT ?4
