-- The messages of an occurrence by their content: how many there are, and what became of them.
SELECT m.content,
       (SELECT c.body FROM contents AS c WHERE c.id = m.content),
       count(*), sum(m.state = 'sent'), sum(m.state = 'sent' AND m.ack >= 2), sum(m.state = 'sent' AND m.ack >= 3),
       sum(m.state = 'failed'),
       sum(m.state = 'sent' AND EXISTS (SELECT 1 FROM replies AS r WHERE r.chat = m.chat AND r.at >= m.sent_at)),
       sum(m.state = 'sent' AND EXISTS (SELECT 1 FROM consents AS o
                                        WHERE o.chat = m.chat AND o.verdict = 'out' AND o.source = 'keyword' AND o.effect = 'changed'
                                          AND o.at >= m.sent_at))
FROM messages AS m
WHERE m.occurrence = ?1 AND m.step = 0 AND m.reason IS NOT 'replaced' AND m.follows IS NULL
GROUP BY m.content
ORDER BY m.content
