INSERT INTO recalls (message, instance, asked_at, attempts, sent_at, state, reason, next_at, settled_at)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 2,
       iif(value ->> 5 = 'open', NULL, value ->> 2)
FROM json_each(?1) WHERE true
ON CONFLICT (message) DO UPDATE SET
    asked_at = excluded.asked_at, attempts = excluded.attempts, sent_at = excluded.sent_at, state = excluded.state,
    reason = excluded.reason, tries = 0, next_at = excluded.next_at, settled_at = excluded.settled_at
WHERE recalls.state = 'failed' OR recalls.state = 'unsent' AND recalls.attempts <> excluded.attempts
