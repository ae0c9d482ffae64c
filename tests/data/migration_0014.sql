INSERT INTO recalls (message, instance, asked_at, attempts, sent_at, state, reason, tries, next_at, settled_at, status, response)
SELECT id, instance, 7, attempts, 6, 'failed', 'unknown', 1, 7, 8, 404, '{"code":"not_found"}' FROM messages LIMIT 1;
INSERT INTO recalls (message, instance, asked_at, attempts, state, next_at)
SELECT id, instance, 7, attempts, 'open', 7 FROM messages LIMIT 1 OFFSET 1;
