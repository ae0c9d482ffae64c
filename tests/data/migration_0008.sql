INSERT INTO doubts (message, number, instance, chat, body, marked_at, named, opened_at, closed_at, verdict)
SELECT id, 9, instance, chat, 1, 2, '3EB0', 3, 4, 'sent' FROM messages LIMIT 1;
INSERT INTO echoes (instance, gateway_id, kind, chat, body, sent_at, told_at) VALUES ('i', '3EB1', 'echo', '1@c.us', 7, 1, 2);
