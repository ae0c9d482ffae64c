-- The rows of the schema before it read as steps of a sequence of one, without an end.
INSERT INTO messages (id, job, occurrence, instance, chat, class, rank, content, audience, place, guard, state, due_at, wake_at, lead_ms, created_at, step, steps, expires_at)
VALUES (x'00000000000000000000000000000003', 'j', 1, 'shop', '201234567890@c.us', 2, 2, 1, 1, 0, 5, 'scheduled', 9, 8, 1, 1, 1, 2, 99);
UPDATE jobs SET then_contents = '[1]' WHERE name = 'j';
INSERT INTO attempts (message, number, marked_at, slot_at, paced, body) VALUES (x'00000000000000000000000000000003', 1, 8, 9, 0, 77);
INSERT INTO pauses (scope, name, note, since, until) VALUES ('all', '', 'lunch', 1, 2), ('instance', 'shop', NULL, 1, NULL), ('job', 'j', 'x', 1, 9);
