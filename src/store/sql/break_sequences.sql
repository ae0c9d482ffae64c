-- What follows a message in its sequence that will not be sent is not sent either. Steps below zero are no sequence.
UPDATE messages SET state = 'skipped', reason = 'sequence'
FROM (
    SELECT s.occurrence, s.chat, s.step FROM json_each(?1) AS j
    CROSS JOIN messages AS s ON s.id = unhex(j.value)
    WHERE s.occurrence IS NOT NULL AND s.step >= 0 AND s.step + 1 < s.steps
) AS broken
WHERE messages.occurrence = broken.occurrence AND messages.chat = broken.chat AND messages.step > broken.step
  AND messages.reason IS NOT 'replaced' AND messages.state = 'scheduled'
RETURNING hex(messages.id)
