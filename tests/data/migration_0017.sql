INSERT INTO senders (chat, instance) VALUES ('1@c.us', 'shop');
