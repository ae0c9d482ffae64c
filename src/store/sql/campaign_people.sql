-- How many recipients have a message of an occurrence, whatever steps of it: who was forgotten has another name in each.
SELECT (SELECT count(*) FROM (
            SELECT DISTINCT m.chat FROM messages AS m
            WHERE m.occurrence = ?1 AND m.step >= 0 AND m.reason IS NOT 'replaced' AND m.chat NOT GLOB 'erased-*'))
     + (SELECT count(*) FROM messages AS m
        WHERE m.occurrence = ?1 AND m.step = 0 AND m.reason IS NOT 'replaced' AND m.chat >= 'erased-' AND m.chat < 'erased.')
