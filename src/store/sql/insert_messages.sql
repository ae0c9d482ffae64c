-- Planning twice is harmless: a recipient of an occurrence has one row a step, ever, and a key one row.
INSERT INTO messages (id, job, occurrence, instance, chat, class, flow, content, audience, place, guard,
                      state, reason, due_at, wake_at, lead_ms, expires_at, key, step, steps, created_at,
                      followed, follow_at, follows, counted, after_ms)
SELECT * FROM (VALUES {26}) WHERE column1 IS NOT NULL
ON CONFLICT DO NOTHING
