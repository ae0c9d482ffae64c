-- How long after what goes before them steps of a sequence may leave: from when the last of it that was sent left, or, where none
-- was, from when the first leaves.
SELECT hex(m.id),
       (SELECT p.sent_at FROM messages AS p
        WHERE p.occurrence = m.occurrence AND p.chat = m.chat AND p.step >= 0 AND p.step < m.step AND p.state = 'sent'
          AND p.reason IS NOT 'replaced' ORDER BY p.step DESC LIMIT 1),
       (SELECT sum(coalesce(b.after_ms, 0)) FROM messages AS b
        WHERE b.occurrence = m.occurrence AND b.chat = m.chat AND b.step > 0 AND b.step <= m.step AND b.reason IS NOT 'replaced'
          AND NOT EXISTS (SELECT 1 FROM messages AS p
                          WHERE p.occurrence = b.occurrence AND p.chat = b.chat AND p.step >= b.step AND p.step < m.step
                            AND p.state = 'sent' AND p.reason IS NOT 'replaced'))
FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.id = unhex(j.value)
WHERE m.step > 0
