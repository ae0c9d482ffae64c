-- Planning twice is harmless: a recipient of an occurrence has one row a step, ever, and a key one row. What is followed is
-- looked at as soon as it rests.
INSERT INTO messages (id, job, occurrence, instance, chat, class, rank, content, audience, place, guard,
                      state, reason, due_at, wake_at, lead_ms, expires_at, key, step, steps, created_at,
                      followed, follow_at, follows)
SELECT unhex(value ->> 0), ?2, ?3, ?4, value ->> 1, value ->> 8, value ->> 9, ?5, ?6, value ->> 2, value ->> 3,
       value ->> 12, value ->> 13, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 10, value ->> 11, ?7, ?8,
       iif(value ->> 14, 'waiting', NULL), iif(value ->> 14 OR value ->> 15 IS NOT NULL, 0, NULL), unhex(value ->> 15)
FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING
