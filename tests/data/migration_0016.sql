UPDATE messages SET counted = 1 WHERE first_marked_at IS NOT NULL;
