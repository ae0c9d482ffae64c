INSERT INTO chores (name, cron, zone, task, next_at, started_at, finished_at, took_ms, ok, result)
VALUES ('tidy', '17 * * * *', 'UTC', '"tidy"', 9, 1, 2, 1, 1, 'done'), ('backup', NULL, 'UTC', NULL, NULL, 1, NULL, NULL, NULL, NULL);
INSERT INTO days (day, zone, messages, states, acks, counted_at) VALUES ('2026-11-24', 'UTC', 1, '{"sent":1}', '{"read":1}', 5);
