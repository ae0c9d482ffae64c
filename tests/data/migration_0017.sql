INSERT INTO senders (chat, instance, at) VALUES ('1@c.us', 'shop', 5);
