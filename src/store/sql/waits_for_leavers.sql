-- What waits for somebody whose place in an audience is empty since they left. Who came back stands in another place.
SELECT m.id, m.attempts, m.state, m.wake_at
FROM recipients AS r
-- Older ones have nothing that waits, or what of a drip does goes out. What is at its gate is shown without another look.
CROSS JOIN (SELECT id FROM occurrences WHERE job = ?1 AND state IN ('planned', 'planning') ORDER BY nominal_at DESC LIMIT 100) AS o
CROSS JOIN messages AS m ON m.occurrence = o.id AND m.chat = substr(r.chat, 2) AND m.audience = r.audience AND m.place = r.place
WHERE r.audience = ?2 AND r.chat GLOB '~*' AND m.state IN ('scheduled', 'held', 'typing') AND m.reason IS NOT 'replaced'
LIMIT 500
