INSERT INTO occurrences (job, nominal_at, state, event_at) VALUES ('j', 500, 'planned', 900);
INSERT INTO replies (instance, gateway_id, chat, at) VALUES ('i', '3EB0', '1@c.us', 5);
