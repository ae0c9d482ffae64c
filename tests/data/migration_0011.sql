INSERT INTO suppressions (chat, since, source, note) VALUES ('1@c.us', 5, 'keyword', 'stop');
INSERT INTO consents (chat, at, verdict, source, note) VALUES ('1@c.us', 5, 'out', 'keyword', 'stop'), ('2@c.us', 6, 'in', 'person', NULL);
