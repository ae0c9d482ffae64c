INSERT INTO contacts (chat, vars, added_at, changed_at) VALUES ('1@c.us', '{"name":"Ada"}', 5, 6), ('2@c.us', NULL, 5, 5);
INSERT INTO lists (id, name, revision, made_at) VALUES (1, 'vip', 2, 5);
INSERT INTO joinings (id, list, file, began_at, done_at) VALUES (1, 1, 'vip.csv', 5, 6);
INSERT INTO members (list, chat, joining) VALUES (1, '1@c.us', 1);
INSERT INTO opt_ins (chat, since, source) VALUES ('2@c.us', 6, 'import');
