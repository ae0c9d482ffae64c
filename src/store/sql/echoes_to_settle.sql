-- Echoes with the attempts each may be. An attempt that is known as sent is none of them; one whose answer is awaited is.
-- What is known as another message by now is no evidence.
SELECT e.instance, e.gateway_id, e.kind, e.sent_at, m.id, d.number, d.marked_at, m.state, m.attempts, m.wake_at, m.tries
FROM echoes AS e
CROSS JOIN doubts AS d ON d.instance = e.instance AND d.chat = e.chat
CROSS JOIN messages AS m ON m.id = d.message
WHERE e.kind = 'echo' AND d.body = e.body AND d.marked_at - ?1 <= e.sent_at AND d.verdict IS NOT 'sent'
  AND NOT EXISTS (SELECT 1 FROM messages AS k
                  WHERE k.instance = e.instance AND k.gateway_id = e.gateway_id AND k.state IS NOT 'in_doubt')
UNION ALL
SELECT e.instance, e.gateway_id, e.kind, e.sent_at, m.id, a.number, a.marked_at, m.state, m.attempts, m.wake_at, m.tries
FROM echoes AS e
CROSS JOIN messages AS m ON m.state IN ('typing', 'sending', 'in_doubt') AND m.state = 'sending'
                        AND m.instance = e.instance AND m.chat = e.chat
CROSS JOIN attempts AS a ON a.message = m.id AND a.number = m.attempts
WHERE e.kind = 'echo' AND a.body = e.body AND a.marked_at - ?1 <= e.sent_at
  AND NOT EXISTS (SELECT 1 FROM messages AS k
                  WHERE k.instance = e.instance AND k.gateway_id = e.gateway_id AND k.state IS NOT 'in_doubt')
UNION ALL
SELECT e.instance, e.gateway_id, 'ack', e.sent_at, m.id, d.number, d.marked_at, m.state, m.attempts, m.wake_at, m.tries
FROM echoes AS e
CROSS JOIN doubts AS d ON d.instance = e.instance AND d.named = e.gateway_id
CROSS JOIN messages AS m ON m.id = d.message
WHERE d.verdict IS NOT 'sent'
  AND NOT EXISTS (SELECT 1 FROM messages AS k
                  WHERE k.instance = e.instance AND k.gateway_id = e.gateway_id AND k.state IS NOT 'in_doubt')
LIMIT ?2
