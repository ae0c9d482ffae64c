INSERT INTO occurrences (job, nominal_at, state, reason, until_at, count) VALUES ('j', 100, 'missed', 'late', 300, 3);
INSERT INTO occurrences (job, nominal_at, state, planned_at, gate_at) VALUES ('j', 400, 'planned', 390, 395);
