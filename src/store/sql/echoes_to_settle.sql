-- Echoes with the attempts each may be. An attempt that is known as sent is none of them.
SELECT e.instance, e.gateway_id, e.kind, e.sent_at, m.id, d.number, d.marked_at, m.state, m.attempts, m.wake_at, m.tries
FROM echoes AS e
CROSS JOIN doubts AS d ON d.instance = e.instance AND d.chat = e.chat
CROSS JOIN messages AS m ON m.id = d.message
WHERE e.kind = 'echo' AND d.body = e.body AND d.marked_at - ?1 <= e.sent_at AND d.verdict IS NOT 'sent'
UNION ALL
SELECT e.instance, e.gateway_id, 'ack', e.sent_at, m.id, d.number, d.marked_at, m.state, m.attempts, m.wake_at, m.tries
FROM echoes AS e
CROSS JOIN doubts AS d ON d.instance = e.instance AND d.named = e.gateway_id
CROSS JOIN messages AS m ON m.id = d.message
WHERE d.verdict IS NOT 'sent'
LIMIT ?2
