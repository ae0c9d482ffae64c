INSERT INTO imports (occurrence, file, audience, began_at, done_at, imported, merged, bad) VALUES (1, 'guests.csv', 1, 5, 6, 2, 0, 0);
