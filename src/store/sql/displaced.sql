-- What took the place of messages that turn out to have gone out, and has not gone out itself.
SELECT hex(s.id), s.state
FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.id = unhex(j.value) AND m.reason = 'replaced'
CROSS JOIN messages AS s ON s.occurrence = m.occurrence AND s.chat = m.chat AND s.step = m.step
WHERE s.reason IS NOT 'replaced' AND s.state IN ('scheduled', 'typing', 'held', 'failed', 'cancelled', 'expired', 'skipped')
