-- Rows that stand in the database when the migration after 0001 is applied: one of each table, in the states that
-- matter. Later migrations bring their own file and are applied on top of these rows.
INSERT INTO meta VALUES ('mode', 'sandbox'), ('seed', '7');
INSERT INTO instances (name, gateway, definition, changed_at) VALUES ('shop', 'sandbox', '{}', 1);
INSERT INTO outages (instance, began_at, ended_at) VALUES (NULL, 1, 2);
INSERT INTO contents (id, fingerprint, kind, body, manner, zone, max_lateness_ms)
VALUES (1, x'01', 'text', '{"text":"hi"}', '{}', 'UTC', 3600000);
INSERT INTO audiences (id, fingerprint, size, complete) VALUES (1, x'02', 1, 1);
INSERT INTO recipients VALUES (1, 0, '201234567890@c.us', '{"name":"Ada"}');
INSERT INTO jobs (name, definition, fingerprint, content, audience, first_applied_at, applied_at, next_at, plan_at)
VALUES ('j', '{}', x'03', 1, 1, 1, 1, 2, 1);
INSERT INTO occurrences (id, job, nominal_at, state) VALUES (1, 'j', 2, 'planned');
INSERT INTO messages (id, job, occurrence, instance, chat, class, rank, content, audience, place, guard, state, due_at, wake_at, lead_ms, created_at)
VALUES (x'00000000000000000000000000000001', 'j', 1, 'shop', '201234567890@c.us', 2, 2, 1, 1, 0, 5, 'scheduled', 9, 8, 1, 1),
       (x'00000000000000000000000000000002', NULL, NULL, 'shop', '201234567891@c.us', 2, 2, 1, NULL, NULL, 5, 'sent', 9, 8, 1, 1);
INSERT INTO attempts (message, number, marked_at, slot_at, paced) VALUES (x'00000000000000000000000000000002', 1, 8, 9, 0);
INSERT INTO results (message, number, at, outcome, state) VALUES (x'00000000000000000000000000000002', 1, 10, 'accepted', 'sent');
INSERT INTO acks VALUES (x'00000000000000000000000000000002', '', 2, 11, 'webhook');
INSERT INTO orphan_acks VALUES ('shop', '3EB0', '', 1, 11, 'webhook');
INSERT INTO events (message, at, from_state, to_state) VALUES (x'00000000000000000000000000000002', 8, 'scheduled', 'typing');
INSERT INTO evidence (message, number, at, kind, verdict) VALUES (x'00000000000000000000000000000002', 1, 12, 'history', 'found');
INSERT INTO ignored_hooks VALUES ('shop', 'call.received', 1, 12);
