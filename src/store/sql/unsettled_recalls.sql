-- Recalls of what is not known to have been sent, with what became of it meanwhile.
SELECT r.message, m.state
FROM recalls AS r
CROSS JOIN messages AS m ON m.id = r.message
WHERE r.sent_at IS NULL AND r.state IN ('open', 'unsent')
  AND (r.state = 'open' AND m.state NOT IN ('sending', 'in_doubt')
       OR r.state = 'unsent' AND m.state = 'sent' AND m.attempts = r.attempts)
LIMIT 500
