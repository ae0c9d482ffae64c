-- What follows a message in its sequence that will not be sent: it waits for nothing more. Steps below zero are no sequence.
SELECT hex(m.id), m.state FROM json_each(?1) AS j
CROSS JOIN messages AS s ON s.id = unhex(j.value)
CROSS JOIN messages AS m ON m.occurrence = s.occurrence AND m.chat = s.chat AND m.step > s.step
WHERE s.step >= 0 AND s.step + 1 < s.steps AND m.reason IS NOT 'replaced' AND m.state IN ('scheduled', 'held')
