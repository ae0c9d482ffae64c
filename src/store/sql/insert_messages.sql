-- Planning twice is harmless: a recipient of an occurrence has one row a step, ever, and a key one row.
INSERT INTO messages (id, job, occurrence, instance, chat, class, rank, content, audience, place, guard,
                      state, reason, due_at, wake_at, lead_ms, expires_at, key, step, steps, created_at)
SELECT unhex(value ->> 0), ?2, ?3, ?4, value ->> 1, value ->> 8, value ->> 9, ?5, ?6, value ->> 2, value ->> 3,
       ?7, ?8, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 10, value ->> 11, ?9, ?10
FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING
