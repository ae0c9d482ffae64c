INSERT INTO consents (chat, at, said_at, verdict, source, note, instance, gateway_id, effect) VALUES
    ('1@c.us', 9, 4, 'in', 'keyword', 'start', 'shop', '3A01', 'overruled'),
    ('4@c.us', 9, NULL, 'in', 'keyword', 'start', 'shop', '3A02', 'changed');
