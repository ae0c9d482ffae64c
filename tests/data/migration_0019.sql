UPDATE occurrences SET renew = 2 WHERE state = 'planning';
INSERT INTO kept_words (occurrence, chat, step, reason) SELECT id, '77@c.us', 0, 'held_by_person' FROM occurrences LIMIT 1;
