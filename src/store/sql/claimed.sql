-- One message as a claim would hand it over, whatever state it is in; whether its occurrence is hidden, and the
-- message of its sequence it waits for.
SELECT m.id, m.chat,
       {numbers},
       m.job, r.vars, m.reason,
       m.instance, coalesce(o.state = 'planning', 0),
       (SELECT p.id FROM messages AS p
        WHERE m.step > 0 AND p.occurrence = m.occurrence AND p.chat = m.chat AND p.step = m.step - 1
          AND p.reason IS NOT 'replaced' AND p.state <> 'sent'),
       m.slot_at,
       {unwanted}
FROM messages AS m
LEFT JOIN occurrences AS o ON o.id = m.occurrence
LEFT JOIN recipients AS r ON r.audience = m.audience AND r.place = m.place
WHERE m.id = ?1
