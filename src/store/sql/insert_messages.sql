-- Planning twice is harmless: a recipient of an occurrence has one row, ever.
INSERT INTO messages (id, job, occurrence, instance, chat, class, rank, content, audience, place, guard,
                      state, reason, due_at, wake_at, lead_ms, expires_at, key, created_at, step, steps)
SELECT unhex(value ->> 0), ?2, ?3, ?4, value ->> 1, ?5, ?6, ?7, ?8, value ->> 2, value ->> 3,
       ?9, ?10, value ->> 4, value ->> 5, value ->> 6, value ->> 7, ?11, ?12, ?13, ?14
FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING
