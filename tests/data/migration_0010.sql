UPDATE occurrences SET recipients = 2, cancelled_at = 700 WHERE nominal_at = 400;
INSERT INTO pauses (scope, name, note, since, until) VALUES ('campaign', 'j@400', 'wrong price', 600, NULL);
