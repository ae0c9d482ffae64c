INSERT INTO suppressions (chat, since, source, farewell) VALUES ('3@c.us', 5, 'keyword', x'0192f0c4a0007000800000000000000f');
