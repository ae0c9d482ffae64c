-- Other messages that said the same in a chat, of which nobody knows whether they went out.
SELECT count(*) FROM (
    SELECT d.message FROM doubts AS d
    WHERE d.instance = ?1 AND d.chat = ?3 AND d.body = ?4 AND d.message <> ?2
      AND (d.verdict IS NULL OR d.verdict IN ('resent', 'dropped'))
    UNION
    SELECT m.id FROM messages AS m
    JOIN attempts AS a ON a.message = m.id AND a.number = m.attempts
    WHERE m.state IN ('typing', 'sending', 'in_doubt') AND m.state = 'sending'
      AND m.instance = ?1 AND m.chat = ?3 AND a.body = ?4 AND m.id <> ?2
)
