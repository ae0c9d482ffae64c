-- Messages that are being typed or sent, by their rows: no more than a daemon may hold at once.
SELECT id, state, attempts, wake_at FROM messages
WHERE state IN ('typing', 'sending', 'in_doubt') AND state <> 'in_doubt'
LIMIT 100000
