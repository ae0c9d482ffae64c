-- Who left a list and came back gets what was skipped when they left: it gives way to the new message.
UPDATE messages SET reason = 'replaced'
WHERE occurrence = ?1 AND chat IN (SELECT value FROM json_each(?2)) AND reason IS NOT 'replaced'
  AND state IN ('skipped', 'cancelled') AND reason IN ('left_list', 'sequence') AND attempts = 0
