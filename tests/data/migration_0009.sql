INSERT INTO attempts (message, number, marked_at, slot_at, paced, body) VALUES (x'00000000000000000000000000000003', 2, 8, 9, 0, 78);
INSERT INTO results (message, number, at, started_at, outcome, response, state)
VALUES (x'00000000000000000000000000000003', 2, 10, 9, 'accepted', '{}', 'sent');
